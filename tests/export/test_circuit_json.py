"""JSON: a circuit comes back as it was, and everything else is refused in one line."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.command_line import UserError
from src.config import Data
from src.export.circuit_json import CircuitFile, data_options, from_json, read_circuit_file, to_json
from src.export.description import Description, channel_names
from src.logic import LogicLayer
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import circuits
from tests.export.exports import described, trained


def file_of(circuit, description=None):
    return CircuitFile(circuit, description or described(circuit), data_options(Data()), (34, 34, 2), (-1, 2), 7)


SMALL = to_json(file_of(trained(num_inputs=9, width=20)[0])).encode()


def changed(content, **values):
    """The content with other values and the checksum that belongs to them."""
    fields = {**json.loads(content), **values}
    fields.pop("sha256")
    before = "".join(["{\n", *(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in fields.items())])
    digest = hashlib.sha256(f"{before}}}\n".encode()).hexdigest()
    return f'{before}  "sha256": "{digest}"\n}}\n'.encode()


@settings(max_examples=50, deadline=None)
@given(circuits())
def test_json_comes_back_as_it_was(circuit):
    file = file_of(circuit)
    again = from_json(to_json(file).encode())
    for field in dataclasses.fields(CircuitFile):
        if field.name != "circuit":
            assert getattr(again, field.name) == getattr(file, field.name)
    for name, value in vars(again.circuit).items():
        assert np.array_equal(value, getattr(circuit, name))


def test_channels_of_stacked_frames_are_named_in_texts_and_json():
    circuit = circuit_of_layers([LogicLayer(8, 4)], 2, 1.0)
    description = Description("net", (4, 1, 2), ("a", "b"), channel_names(stack=2, polarities=2))
    assert "Channel 1: frame -1, polarity 1." in description.lines(circuit)
    assert "Channel 2: frame 0, polarity 0." in description.lines(circuit)
    assert from_json(to_json(file_of(circuit, description)).encode()).description == description


def test_json_gives_a_gate_as_its_truth_table_and_its_inputs_by_number():
    circuit, _, _ = trained()
    fields = json.loads(to_json(file_of(circuit)))
    assert [int(digit, 16) for digit in fields["gates"]] == circuit.gates.tolist()
    assert fields["first"] == circuit.first.tolist()
    assert fields["frame_shape"] == [1, 1, 150]


def test_options_say_how_frames_are_made_but_not_where_recordings_lie():
    options = data_options(Data(name="FOLDER", folder="/home/me/hands", data_root="/data", crop=(1, 2, 3, 4)))
    assert options["overlap"] == 1000
    assert options["crop"] == [1, 2, 3, 4]
    assert options["folder"] == "hands"
    assert not {"data_root", "num_threads", "time_window"} & set(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": "xyz"}, "invalid literal"),
        ({"gates": ["false"]}, "gates must be a text"),
        ({"first": [0]}, "a gate's inputs must come before it"),
        ({"first": [9], "second": [0], "gates": "1", "outputs": [0], "starts": [0, 1], "offsets": [0]}, "before it"),
        ({"first": [0.5] * 30}, "first must be a list of whole numbers"),
        ({"outputs": [-1]}, "outputs must be a list of whole numbers"),
        ({"outputs": [10**6]}, "an output is no node"),
        ({"starts": [0, 1]}, "the classes do not divide the outputs"),
        ({"offsets": [2**31 - 1] * 10}, "does not fit into 32 bits"),
        ({"tau": None}, "tau = None must be a number above 0"),
        ({"tau": float("nan")}, "tau = nan must be"),
        ({"num_inputs": 1e9}, "num_inputs = 1000000000.0 must be a whole number"),
        ({"frame_shape": [1, 1, 10]}, "is not the number of bits of frame_shape"),
        ({"class_names": ["a"]}, "there are 1 class names for 10 classes"),
        ({"sensor_size": [1, 2]}, "must be three numbers above 0"),
        ({"thresholds": [0.5]}, "thresholds must be a list of whole numbers"),
        ({"name": "a b"}, "name = 'a b' can be no name"),
        ({"data": []}, "data must be an object"),
    ],
)
def test_values_that_make_no_circuit_are_refused(change, message):
    with pytest.raises(UserError, match=f"no circuit that can be read: .*{message}"):
        from_json(changed(SMALL, **change))


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_circuit_is_refused(content):
    with pytest.raises(UserError, match="no circuit that can be read"):
        from_json(content)


@pytest.mark.parametrize("version", [1, 3, None, "2"])
def test_another_version_is_named(version):
    with pytest.raises(UserError, match=f"format version {json.dumps(version)}, and this program reads version 2"):
        from_json(changed(SMALL, format_version=version))


def test_a_field_that_is_missing_is_named():
    fields = json.loads(SMALL)
    del fields["tau"]
    with pytest.raises(UserError, match="it has no 'tau'"):
        from_json(changed(json.dumps(fields)))


def test_a_changed_digit_is_seen_by_the_checksum(tmp_path):
    path = tmp_path / "net.json"
    path.write_bytes(SMALL.replace(b'"tau": 3', b'"tau": 4'))
    with pytest.raises(UserError, match=r"net\.json: it is damaged: its checksum is wrong"):
        read_circuit_file(path)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(1, 40), st.binary(max_size=4))
def test_random_damage_is_refused_in_one_line(begin, length, instead):
    damaged = SMALL[:begin] + instead + SMALL[begin + length :]
    if damaged == SMALL:
        return
    with pytest.raises(UserError) as error:
        from_json(damaged)
    assert len(str(error.value).splitlines()) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([key for key in json.loads(SMALL) if key != "sha256"]), VALUES)
def test_any_value_in_a_field_gives_a_circuit_or_one_line(key, value):
    try:
        from_json(changed(SMALL, **{key: value}))
    except UserError as error:
        told = str(error)
    else:
        told = "a circuit"
    assert len(told.splitlines()) == 1
