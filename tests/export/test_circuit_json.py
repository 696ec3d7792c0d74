"""JSON: a circuit comes back as it was, and other text is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings

from src.command_line import UserError
from src.export.circuit_json import from_json, to_json
from src.export.description import Description, channel_names
from src.logic import LogicLayer
from src.logic.gates import GATE_NAMES
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import circuits
from tests.export.exports import described, trained


@settings(max_examples=50, deadline=None)
@given(circuits())
def test_json_comes_back_as_it_was(circuit):
    again, description = from_json(to_json(circuit, described(circuit)))
    assert description == described(circuit)
    for name, value in vars(again).items():
        assert np.array_equal(value, getattr(circuit, name))


def test_channels_of_stacked_frames_are_named_in_texts_and_json():
    circuit = circuit_of_layers([LogicLayer(8, 4)], 2, 1.0)
    description = Description("net", (4, 1, 2), ("a", "b"), channel_names(stack=2, polarities=2))
    assert "Channel 1: frame -1, polarity 1." in description.lines(circuit)
    assert "Channel 2: frame 0, polarity 0." in description.lines(circuit)
    assert from_json(to_json(circuit, description))[1] == description


def test_json_names_gates_and_their_inputs():
    circuit, _, _ = trained()
    fields = json.loads(to_json(circuit, described(circuit)))
    assert set(fields["gates"]) <= set(GATE_NAMES)
    assert fields["first"] == circuit.first.tolist()
    assert fields["frame_shape"] == [1, 1, 150]


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"gates": ["maybe"]},
        {"first": [0]},
        {"first": [150], "second": [0], "gates": ["a and b"], "outputs": [0], "starts": [0, 1], "offsets": [0]},
        {"outputs": [-1]},
        {"starts": [0, 1]},
        {"tau": None},
    ],
)
def test_json_that_is_no_circuit_is_refused(change):
    circuit, _, _ = trained()
    fields = json.loads(to_json(circuit, described(circuit)))
    with pytest.raises(UserError, match="no circuit that can be read"):
        from_json(json.dumps({**fields, **change}))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"format": 1}'])
def test_text_that_is_no_circuit_is_refused(text):
    with pytest.raises(UserError, match="no circuit that can be read"):
        from_json(text)
