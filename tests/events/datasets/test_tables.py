"""Tables without names: the types that are converted, and what is refused by name."""

import io

import numpy as np
import pytest

from src.events.datasets.tables import events_of_columns, read_npy
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


TABLE = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1", "f4", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_table_is_read_as_numpy_reads_it(dtype, order):
    table = np.array(TABLE, dtype, order=order)
    assert np.array_equal(read_npy(saved(table)), table)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5)), "no table of events with four columns"),
        (np.zeros(4), "no table of events"),
        (np.zeros((3, 4), complex), "no table of events"),
        (np.array([[None] * 4]), "no table of events"),
    ],
)
def test_another_array_is_foreign(array, message):
    with pytest.raises(ForeignRecordingError, match=message):
        read_npy(saved(array, allow_pickle=True))


@pytest.mark.parametrize("change", [lambda it: it[:-1], lambda it: it + b"x", lambda it: it[:40], lambda it: b"abc"])
def test_a_damaged_file_is_named(change):
    with pytest.raises(CorruptRecordingError, match=r"its header is none|bytes of events, where its header says 96"):
        read_npy(change(saved(TABLE)))


def test_a_header_that_claims_more_takes_no_memory():
    content = saved(TABLE).replace(b"(3, 4), }       ", b"(3000000000, 4)}")
    with pytest.raises(CorruptRecordingError, match="where its header says 96,000,000,000"):
        read_npy(content)


def columns(**values):
    given = {"x": 1, "y": 2, "t": 3, "p": 1} | values
    return {name: np.full(200, value) if np.isscalar(value) else np.array(value) for name, value in given.items()}


def test_a_polarity_of_minus_one_is_off():
    assert set(events_of_columns(**columns(p=-1)).p) == {0}


def test_a_few_events_that_are_no_pixel_s_are_left_out_and_counted():
    events = events_of_columns(**columns(x=[-1, 70_000, *[4] * 198]))
    assert len(events) == 198
    assert events.num_outside == 2


@pytest.mark.parametrize("values", [{"x": -5}, {"y": 1e300}, {"p": 2}])
def test_many_such_events_are_foreign(values):
    with pytest.raises(ForeignRecordingError, match="200 of its 200 events"):
        events_of_columns(**columns(**values))


@pytest.mark.parametrize("values", [{"x": np.nan}, {"t": np.inf}, {"t": 1e17}])
def test_what_is_no_number_is_named(values):
    with pytest.raises(CorruptRecordingError, match=r"holds what is no number|too large"):
        events_of_columns(**columns(**values))


def test_steps_back_in_time_are_counted():
    assert events_of_columns(**columns(t=[5, *range(199)])).num_back == 1
