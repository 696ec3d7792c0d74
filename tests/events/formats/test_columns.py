"""Tables of events: names of columns, units of timestamps, polarities; what is no event is named."""

import numpy as np
import pytest

from src.events.formats.columns import Block, Unit, check_number, check_types, find_columns, unit_of, windows_of
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.windows import joined


def read(t=(1, 2), x=(3, 4), y=(5, 6), p=(0, 1), unit=None, **options):
    arrays = [np.asarray(values) for values in (x, y, t, p)]
    n = len(arrays[0])
    return joined(windows_of(iter([Block(*arrays)]), n, 100, unit or unit_of(arrays[2], None), **options))


@pytest.mark.parametrize("names", ["ptyx", ["X", "Y", "Timestamp", "Polarity"], ["xs", "ys", "ts", "ps"]])
def test_columns_are_known_by_their_usual_names_in_any_order(names):
    assert sorted(find_columns(names).names) == ["p", "t", "x", "y"]


@pytest.mark.parametrize(
    ("name", "unit"),
    [("t", None), ("t_us", "us"), ("ts", None), ("timestamp(s)", "s"), ("time [µs]", "us"), ("t_ns", "ns")],
)
def test_the_name_of_the_timestamps_may_say_their_unit(name, unit):
    columns = find_columns([name, "x", "y", "p"])
    assert (columns.names["t"], columns.unit) == (name, unit)


def test_other_columns_are_ignored_and_missing_ones_named():
    assert find_columns(["x", "y", "id", "x_m"]).missing == "t and p"


def test_two_columns_for_the_same_are_refused():
    with pytest.raises(ForeignRecordingError, match="its columns 't' and 'timestamp' are both t"):
        find_columns(["t", "timestamp", "x", "y", "p"])


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (np.array([5, 6]), "us"),
        (np.array([0.0, 0.25]), "s"),
        (np.array([0.0, 3e6]), "us"),
        (np.arange(16.0), "us"),
        (np.zeros(3), "us"),
        (np.array([np.nan, 0.5]), "s"),
    ],
)
def test_integers_are_microseconds_and_fractions_seconds(values, unit):
    assert unit_of(values, None).name == unit


def test_a_few_small_whole_floating_point_timestamps_are_ambiguous():
    with pytest.raises(ForeignRecordingError, match="such as 2, may be seconds or microseconds: name their column t_s"):
        unit_of(np.array([0.0, 1.0, 2.0]), None)
    assert unit_of(np.array([0.0, 1.0, 2.0]), "s").name == "s"


@pytest.mark.parametrize(
    ("t", "unit", "expected"),
    [
        ([0.000779999, 1.0000004], "s", [780, 1_000_000]),
        ([1.5, 2.25], "ms", [1500, 2250]),
        ([1499, 1500], "ns", [1, 2]),
        ([3, 4], "s", [3_000_000, 4_000_000]),
    ],
)
def test_timestamps_become_the_nearest_microseconds(t, unit, expected):
    assert read(t=t, unit=Unit(unit)).t.tolist() == expected


@pytest.mark.parametrize("p", [[0, 1], [-1, 1], [False, True], [-1.0, 1.0], np.array([0, 1], np.uint8)])
def test_polarities_of_every_kind_become_0_and_1(p):
    assert read(p=p).p.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"p": [0, 2]}, "polarity of event 1 is 2, not 0, 1 or -1"),
        ({"p": [0.5, 1]}, "polarity of event 0 is 0.5"),
        ({"p": [0, -1]}, "polarities are -1, 0 and 1"),
        ({"x": [0.0, 1.5]}, "x of event 1 is 1.5, no whole number"),
        ({"y": [np.nan, 1.5]}, "y of event 0 is nan"),
        ({"t": [0.5, np.inf]}, "timestamp inf of event 1 is none in seconds"),
        ({"t": [1, 1_700_000_000_000_000_000]}, "timestamp 1700000000000000000 of event 1 is none in microseconds"),
        ({"t": np.array([1, 2**64 - 1], np.uint64)}, "timestamp 18446744073709551615 of event 1"),
        ({"t": [0.5, 90_000.0]}, "it would last for 89,999 s: name their column t_us"),
        ({"t": [1.0, 2.5], "unit": Unit("us", is_guessed=True)}, "timestamp 2.5 of event 1 has a fraction"),
    ],
)
def test_what_no_event_has_is_named(columns, message):
    with pytest.raises(CorruptRecordingError, match=message):
        read(**columns)


def test_an_event_outside_of_the_sensor_is_left_out_and_counted():
    x = np.arange(100) % 10
    x[7] = -1
    events = read(x=x, y=x * 0, t=np.arange(100), p=x * 0, sensor=(10, 10))
    assert (len(events), events.num_outside) == (99, 1)
    with pytest.raises(ForeignRecordingError, match=r"lie outside the sensor \(5 x 10\)"):
        read(x=x, y=x * 0, t=np.arange(100), p=x * 0, sensor=(5, 10))


def test_timestamps_that_step_back_are_counted_across_blocks():
    blocks = [Block(*map(np.array, ([1, 1], [1, 1], t, [1, 0]))) for t in ([5, 4], [3, 9], [9, 8])]
    parts = list(windows_of(iter(blocks), 6, 1, Unit("us")))
    assert [part.num_back for part in parts] == [0, 1, 1, 0, 0, 1]


def test_polarities_are_compared_across_blocks():
    blocks = [Block(*(np.array([value]) for value in (1, 1, 1, p))) for p in (0, -1)]
    with pytest.raises(CorruptRecordingError, match="polarities are -1, 0 and 1"):
        list(windows_of(iter(blocks), 2, 5, Unit("us")))


def test_columns_of_words_are_refused():
    with pytest.raises(ForeignRecordingError, match="its column x is of type <U3, not of numbers"):
        check_types({"x": np.dtype("U3")})


def test_more_events_than_a_file_can_hold_are_a_sign_of_damage():
    check_number(1 << 20, 10)
    with pytest.raises(CorruptRecordingError, match="it claims 100,000,000 events in 1,000 bytes"):
        check_number(100_000_000, 1000)


@pytest.mark.parametrize("t", [-5 * 10**17, 10**17, -(2**63), 2**63 - 1])
def test_a_whole_timestamp_beyond_all_reason_is_an_error(t):
    n = np.zeros(3, np.uint16)
    with pytest.raises(CorruptRecordingError, match="is none in microseconds"):
        list(windows_of(iter([Block(n, n, np.array([t, 0, 10]), n)]), 3, 100, Unit("us")))
