"""StreamDesign: where a program's inputs lie."""

from src.events.framing import Framing
from src.export.c_stream.design import StreamDesign
from src.export.stream_plan import StreamPlan
from tests.export.exports import trained


def test_each_of_several_frames_begins_a_word():
    design = StreamDesign("net", trained()[0], ("a",), StreamPlan(Framing(), (34, 34, 2), stack=2))
    assert design.frame_words == 73
    assert design.input_places[[0, 2311, 2312, -1]].tolist() == [0, 2311, 73 * 32, 73 * 32 + 2311]
