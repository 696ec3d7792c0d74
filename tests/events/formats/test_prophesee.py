"""The header of Prophesee's files: formats and sensors as Metavision finds them, also in files of older software."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.events.formats import prophesee
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.prophesee import parse_header, raw_header

EVK4 = b"""% camera_integrator_name Prophesee
% date 2023-03-29 16:37:46
% evt 3.0
% format EVT3;height=720;width=1280
% geometry 1280x720
% plugin_integrator_name Prophesee
% system_ID 49
% end
"""


def header_of(*lines):
    return parse_header("".join(f"% {line}\n" for line in lines).encode() + b"\0\0")


def test_a_camera_s_header_is_read():
    header = parse_header(EVK4 + b"% data\n")
    assert (header.encoding, header.sensor_size(), header.endianness) == ("EVT3", (1280, 720), "little")
    assert header.end == len(EVK4)


def test_without_an_end_line_data_begin_at_the_first_line_that_is_none():
    lines = b"% evt 3.0\n% geometry 20x10\r\n"
    for data in (b"", b"\x00", b"%", b"%!", b"% \x00\n", b"% a\x01b\n", b"\n"):
        assert parse_header(lines + data).end == len(lines)


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (["format EVT21;width=5;height=6", "evt 3.0"], "EVT21"),
        (["format EVT3.0"], "EVT3"),
        (["evt 2.0"], "EVT2"),
        (["evt 2.1"], "EVT21"),
        (["evt 3.0"], "EVT3"),
        (["evt 4.0"], "EVT4.0"),
        (["format HISTO3D"], "HISTO3D"),
        (["integrator_name Prophesee", "system_ID 21"], "EVT2"),
        (["system_ID 48"], "EVT3"),
        (["integrator_name Somebody", "system_ID 48"], ""),
        (["system_ID x"], ""),
    ],
)
def test_the_encoding_is_that_of_format_else_of_evt_else_the_camera_s(lines, encoding):
    assert header_of(*lines).encoding == encoding


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        (["evt 2.0", "geometry 640x480"], (640, 480)),
        (["format EVT2;height=480;width=640"], (640, 480)),
        (["format EVT2;height=480;width=640", "geometry 640x480", "system_ID 48"], (640, 480)),
        (["Version 2", "Width 304", "Height 240"], (304, 240)),
        (["evt 3.0", "system_ID 48"], (1280, 720)),
        (["evt 3.0", "integrator_name Somebody", "system_ID 48"], None),
        (["evt 3.0"], None),
        (["Version 2", "Width 304"], None),
    ],
)
def test_the_sensor_is_that_of_the_header_else_the_camera_s(lines, size):
    assert header_of(*lines).sensor_size() == size


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["geometry 640x480", "format EVT3;width=640;height=481"], "sensors of 640 x 48. and 640 x 48."),
        (["geometry 0x480"], "a side of '0' pixels"),
        (["geometry 640x-1"], "a side of '-1' pixels"),
        (["geometry 99999x480"], "a side of '99999' pixels"),
        (["geometry 640xmany"], "a side of 'many' pixels"),
    ],
)
def test_a_sensor_that_cannot_be_is_corrupt(lines, message):
    with pytest.raises(CorruptRecordingError, match=message):
        header_of(*lines).sensor_size()


@pytest.mark.parametrize(
    ("lines", "endianness"),
    [
        (["format EVT21;endianness=legacy"], "legacy"),
        (["format EVT21;endianness=little", "system_ID 49"], "little"),
        (["format EVT21", "endianness legacy"], "legacy"),
        (["format EVT21", "integrator_name Prophesee", "system_ID 49"], "legacy"),
        (["format EVT21", "system_ID 64"], "little"),
        (["format EVT21"], "little"),
        (["format EVT3", "system_ID 49"], "little"),
    ],
)
def test_evt_21_of_older_cameras_comes_in_halves(lines, endianness):
    assert header_of(*lines).endianness == endianness


def test_big_endian_words_are_foreign():
    with pytest.raises(ForeignRecordingError, match="its words are 'big' endian; little and legacy are read"):
        raw_header(b"% format EVT21;endianness=big\n", "EVT21")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "none of a RAW file in EVT3"),
        (b"% evt 2.0\n", "none of a RAW file in EVT3"),
        (b"% Version 2\n% Data file containing CD events\n", "none of a RAW file in EVT3"),
        (b"% evt 3.0\n% system_I", "ends within its header"),
        (b"% evt 3.0\n% " + b"a" * prophesee.LARGEST_HEADER, "its header has more than 65536 bytes"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(content, message):
    with pytest.raises(CorruptRecordingError, match=message):
        raw_header(content, "EVT3")


@given(st.binary(max_size=100))
def test_any_bytes_have_a_header_that_lies_within_them(content):
    header = parse_header(b"% " + content)
    assert 0 <= header.end <= len(content) + 2


def test_a_dat_file_is_no_raw_file():
    assert header_of("Data file containing CD events", "system_ID 48").is_dat
    assert not header_of("Version 2", "evt 3.0").is_dat
    assert not header_of("Version 2").is_raw


LINES = [
    b"% evt 3.0\n",
    b"% Width 304\r\n",
    b"%\n",
    b"%\r\n",
    b"% a\tb\n",
    b"% end\n",
    b"% \x01\n",
    b"%\rx\n",
    b"% cut",
    b"%",
]


@given(st.lists(st.sampled_from([*LINES, b"\x00\x8a", b"\n", b"% " + b"x" * (1 << 15) + b"\n"]), max_size=8))
def test_a_header_that_is_known_already_is_the_one_that_is_parsed(pieces):
    content = b"".join(pieces)
    for _ in range(2):
        assert prophesee.parse_header(content) == prophesee._parsed(content[: prophesee.LARGEST_HEADER])
