"""Text: columns in any order and notation, timestamps by decimal arithmetic, malformed lines by their numbers."""

import gzip
import zlib
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.events import Events
from src.events.formats import text
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from tests.events.formats.tables import recordings, require_windows, some_events
from tests.recordings import real_sample, same

EVENTS = some_events()
TWO = Events(
    np.array([30, 158], np.uint16), np.array([134, 59], np.uint16), np.array([0, 780]), np.array([0, 1], np.uint8)
)


def zipped(content):
    return gzip.compress(content, 1, mtime=0)


@settings(max_examples=80, deadline=None)
@given(
    recordings(least=1, latest=86_000_000_000),
    st.permutations("txyp"),
    st.sampled_from([" ", "\t", ",", ";", ", ", "  "]),
    st.sampled_from(["s", "us"]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 40),
)
def test_events_survive_encoding_and_windows(events, order, separator, unit, line_end, most_events):
    names = [f"t_{unit}" if role == "t" else role for role in order]
    content = text.encode(events, order, separator, unit, separator.join(names) + line_end, line_end)
    for file in (content, zipped(content)):
        assert text.recognises(file)
        assert same(text.decode(file), events)
        require_windows(text, file, most_events)


@settings(max_examples=300, deadline=None)
@given(st.decimals(min_value=-80_000, max_value=80_000, places=9), st.sampled_from(["f", "e", "E"]))
@example(Decimal("0.0000005"), "f")
@example(Decimal("-0.0000015"), "e")
@example(Decimal("0.000779999"), "f")
def test_seconds_become_the_nearest_microseconds_by_decimal_arithmetic(seconds, notation):
    content = f"0.5 1 2 1\n{seconds:{notation}} 3 4 0\n".encode()
    expected = int((seconds * 10**6).quantize(Decimal(1), ROUND_HALF_UP))
    assert text.decode(content).t.tolist() == [500_000, expected]


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        ("1468941032.229165", 1468941032229165),
        ("1468941032.2291654999999999999999999", 1468941032229165),
        ("1468941032.2291655", 1468941032229166),
        ("000000000000000000001468941032.25", 1468941032250000),
        ("+.5", 500_000),
        ("5.", 5_000_000),
        ("1e-06", 1),
        ("4e-7", 0),
    ],
)
def test_every_digit_of_a_timestamp_counts(seconds, microseconds):
    assert text.decode(f"t_s x y p\n{seconds} 1 2 1\n".encode()).t.tolist() == [microseconds]


@pytest.mark.parametrize(
    "content",
    [
        b"0.000000 30 134 0\n0.00078 158 59 1\n",
        b"0 30 134 0\n780 158 59 1",
        b"\xef\xbb\xbf0,30,134,0\r\n780,158,59,1\r\n",
        b"240 180\n0.0 30 134 -1\n0.000780 158 59 1\n",
        b"# made by a simulation: 2 events\n\n  0\t30\t134\tFalse \n\n780\t158\t59\tTrue\n# end\n",
        b"x,y,polarity,timestamp\n30,134,0,0\n158,59,1,780\n",
        b"# x y t p\n30 134 0 0\n158 59 780 1\n",
        b"# columns: x y t [us] p\n30 134 0 0\n158 59 780 1\n",
        b"%geometry:240,180\n30,134,0,0\n158,59,1,780\n",
        b'"id";p;y;x;t\n1;0;134;30;0\n2;1;59;158;780\n',
        b"0.0 3.0e+01 1.34e2 0.0\n7.800000e-04 1.58e+02 5.9e+01 1.000e+00\n",
        b"timestamp(s) x y pol\n0 30 134 0\n0.00078 158 59 1\n",
        b"t_ns,x,y,p\n499,30,134,0\n779500,158,59,1\n",
    ],
)
def test_the_notations_of_the_field_give_the_same_events(content):
    for file in (content, zipped(content)):
        assert text.recognises(file)
        assert same(text.decode(file), TWO)
        require_windows(text, file, 1)


def test_the_real_file_is_what_numpy_loads():
    content = real_sample("event.txt")
    t, x, y, p = np.loadtxt(content.decode().splitlines()).T
    events = text.decode(content)
    assert same(events, Events(x, y, np.rint(t * 1e6), p))
    assert events.num_unread == 0


def test_whole_numbers_with_a_decimal_point_are_microseconds_if_there_are_many():
    content = "".join(f"{t}.0 {t} 2 1\n" for t in range(0, 160, 10)).encode()
    assert text.decode(content).t.tolist() == list(range(0, 160, 10))
    assert text.decode(b"0.0 1 2 1\n2000000.0 1 2 0\n").t.tolist() == [0, 2_000_000]
    assert text.decode(b"0.0 1 2 1\n2.0 1 2 0\n").t.tolist() == [0, 2_000_000]


@pytest.mark.parametrize(
    ("content", "size"),
    [(b"240 180\n0.1 1 2 1\n", (240, 180)), (b"%geometry:320,200\n1,2,0,5\n", (320, 200)), (b"0.1 1 2 1\n", None)],
)
def test_the_sensor_s_size_is_found_if_the_file_says_it(content, size):
    assert text.sensor_size(content) == size
    assert text.sensor_size(zipped(content)) == size


def test_events_outside_of_the_sensor_are_counted_or_make_the_file_foreign():
    lines = [f"{t} {t} 5 1\n" for t in range(100)]
    content = "".join(["100 100\n", *lines, "100 -1 5 1\n"]).encode()
    events = text.decode(content)
    assert (len(events), events.num_outside) == (100, 1)
    require_windows(text, content, 7)
    with pytest.raises(ForeignRecordingError, match=r"lie outside the sensor \(50 x 50\)"):
        text.decode(content.replace(b"100 100", b"50 50"))


def test_timestamps_that_step_back_stay_and_are_counted():
    content = b"5 1 1 1\n3 1 1 1\n9 1 1 1\n8 1 1 1\n"
    assert text.decode(content).t.tolist() == [5, 3, 9, 8]
    assert text.decode(content).num_back == 2
    require_windows(text, content, 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5 1 2", "it has fewer than 4 columns"),
        ("5 1 2 1 7", "it has more than 4 columns"),
        ("5,,2,1", "a column is no number"),
        ("5 one 2 1", "a column is no number"),
        ("5 1 2 on", "a column is no number"),
        ("5e 1 2 1", "a column is no number"),
        ("5 1x 2 1", "something follows a number"),
        ("5 1.5 2 1", "a coordinate is no whole number"),
        ("5 1 2 2", "a polarity is not 0, 1 or -1; without names of columns the order is t x y p"),
        ("5 1 2 0.5", "a polarity is not 0, 1 or -1"),
        ("5 1 2 -1", "polarities are -1, 0 and 1 until here"),
        ("1700000000000000000 1 2 1", "its timestamp is none in microseconds"),
        ("-170000000000000000000000 1 2 1", "its timestamp is none in microseconds"),
        ("1e400 1 2 1", "its timestamp is none in microseconds"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(line, problem):
    content = f"# a comment\n3 1 1 0\n\n4 2 1 1\n{line}\n6 1 1 1\n".encode()
    for most_events in (1, 100):
        with pytest.raises(CorruptRecordingError) as raised:
            list(text.windows(np.frombuffer(content, np.uint8), most_events))
        assert str(raised.value).startswith(f"line 5, {line!r}: {problem}")


def test_a_line_in_another_unit_than_those_before_is_named(monkeypatch):
    monkeypatch.setattr(text, "LOOKED_AT", 2)
    with pytest.raises(
        CorruptRecordingError, match=r"line 3, '5\.5 1 2 1': its timestamp has a fraction; those before"
    ):
        text.decode(b"3 1 2 1\n4 1 2 1\n5.5 1 2 1\n")
    with pytest.raises(CorruptRecordingError, match=r"line 3, .* taken for seconds, are more than a day apart"):
        text.decode(b"0.5 1 2 1\n0.6 1 2 1\n700000 1 2 1\n")


def test_names_that_lack_a_column_are_refused():
    with pytest.raises(ForeignRecordingError, match="line 2 names columns, 'x,y,p', but no t"):
        text.decode(b"# made by hand\nx,y,p\n1,2,1\n")


def test_a_last_line_that_was_cut_short_is_left_out_and_counted():
    content = text.encode(EVENTS)
    last = len(content.splitlines()[-1])
    assert same(text.decode(content[:-1]), EVENTS)
    for cut in range(2, last + 1):
        events = text.decode(content[:-cut])
        assert (len(events), events.num_unread) == (len(EVENTS) - 1, last + 1 - cut)
        require_windows(text, content[:-cut], 7)


def test_a_last_timestamp_that_lacks_digits_is_left_out_and_counted():
    content = b"x,y,p,t\n1,2,1,1000\n3,4,0,1050\n5,6,1,1100"
    assert text.decode(content).t.tolist() == [1000, 1050, 1100]
    events = text.decode(content[:-1])
    assert (events.t.tolist(), events.num_unread) == ([1000, 1050], 9)


def test_a_compressed_file_that_was_cut_short_gives_its_whole_lines():
    content = text.encode(some_events(3000))
    file = zipped(content)
    whole = text.decode(content)
    for length in (len(file) - 1, len(file) - 9, len(file) // 2):
        events = text.decode(file[:length])
        n = len(events)
        assert 0 < n <= len(whole)
        assert events.num_unread >= 1
        assert same(events, Events(whole.x[:n], whole.y[:n], whole.t[:n], whole.p[:n]))


def test_compressed_files_may_follow_each_other(monkeypatch):
    monkeypatch.setattr(text, "PIECE", 1000)
    content = text.encode(some_events(500))
    file = zipped(content[:3333]) + zipped(b"") + zipped(content[3333:]) + bytes(10)
    assert same(text.decode(file), text.decode(content))
    require_windows(text, file, 60)
    assert text.decode(file + b"more").num_unread == 14


def test_what_is_missing_is_counted_even_if_no_line_is_left(monkeypatch):
    monkeypatch.setattr(text, "PIECE", len(text.encode(EVENTS)))
    file = zipped(text.encode(EVENTS))
    assert text.decode(file).num_unread == 0
    assert text.decode(file + b"more").num_unread == 4
    assert text.decode(file[:-1]).num_unread == 1
    require_windows(text, file[:-1], 7)


def test_damaged_gzip_data_are_an_error():
    file = bytearray(zipped(text.encode(EVENTS)))
    file[-6] ^= 1
    with pytest.raises(CorruptRecordingError, match=r"its gzip data are damaged: .*incorrect data check"):
        text.decode(bytes(file))


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused():
    with pytest.raises(CorruptRecordingError, match=r"it claims .* events in"):
        text.decode(zipped(b"0 0 0 0\n" * 3_000_000))
    packer = zlib.compressobj(1, wbits=31)
    file = packer.compress(b"0 0 0 0\n" + bytes(9_000_000)) + packer.flush()
    with pytest.raises(CorruptRecordingError, match="a line of it is longer than"):
        text.decode(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"#!AER-DAT3.1\r\n",
        b"12 34\n",
        b"1 2\n3 4\n",
        b"1 2 a b\n",
        b"0 1 2 1\0\n",
        zipped(b"hello"),
        text.GZIP,
    ],
)
def test_other_text_is_not_recognised(content):
    assert not text.recognises(content)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"240 180\n", b"t x y p\n", b"0.1 1 2 1\n"]),
    st.text("0123456789.eE-+ \t,;#%\r\ntruefalsxyp", max_size=60),
    st.integers(1, 5),
)
def test_arbitrary_data_give_events_or_a_corrupt_recording(beginning, rest, most_events):
    content = beginning + rest.encode()
    try:
        text.decode(content)
    except CorruptRecordingError:
        return
    require_windows(text, content, most_events)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), st.binary(max_size=20))
def test_damaged_compressed_files_give_events_or_a_corrupt_recording(at, data):
    content = bytearray(zipped(text.encode(EVENTS)))
    content[at : at + len(data)] = data
    try:
        text.decode(text.GZIP + bytes(content[len(text.GZIP) :]))
    except CorruptRecordingError:
        return
