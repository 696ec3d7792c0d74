"""labels.csv: columns that are not used are named, and mistakes with their line."""

import pytest

from src.command_line import UserError
from src.events.datasets.labels import read_labels


@pytest.fixture
def read(tmp_path):
    """A function: text of labels.csv -> its samples; x.bin and y.bin lie beside it."""
    for name in ("x.bin", "y.bin"):
        (tmp_path / name).write_bytes(b"")

    def read(text):
        (tmp_path / "labels.csv").write_text(text)
        return read_labels(tmp_path / "labels.csv", warn=True)

    return read


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("file,label,splits", "column 'splits' (did you mean split?)"),
        ("file,label,Groups", "column 'Groups' (did you mean group?)"),
        ("file,label,stop_s", "column 'stop_s' (did you mean end_s?)"),
        ("file,label,camera,begin_us", "columns 'camera', 'begin_us' (did you mean start_us?)"),
        ("file,label,split,splits", "column 'splits'"),
        ("file,label,path", "column 'path'"),
    ],
)
def test_columns_that_are_not_used_are_named_with_those_that_may_be_meant(read, caplog, header, told):
    read(f"{header}\nx.bin,a,,\n".replace(",,", "," * (header.count(",") - 1)))
    (message,) = caplog.messages
    assert message.endswith(f"labels.csv: not used: {told}")


def test_nothing_is_said_of_columns_that_are_used_or_have_no_name(read, caplog):
    read("Filename;class;split;group;start_s;end_s;\nx.bin;a;train;g;0;1;\n")
    assert caplog.messages == []


@pytest.mark.parametrize(
    "lines",
    ['"x.bin,a\ny.bin,b\n', '"x.bin,a\n"y.bin",b\n', '"x.bin,a\n' + "y.bin,b\n" * 20_000],
    ids=["to the end", "to the next quote", "a long table"],
)
def test_a_quote_that_is_not_closed_is_an_error_of_the_line_on_which_it_opens(read, lines):
    with pytest.raises(UserError, match=r"labels\.csv, line 3: a quote that opens there is not closed"):
        read(f"file,label\ny.bin,b\n{lines}")


def test_a_cell_in_quotes_may_hold_quotes_and_line_breaks(read):
    samples = read('file,label\nx.bin,"a ""b""\nc"\ny.bin,5"\n')
    assert [sample.label for sample in samples] == ['a "b"\nc', '5"']
    assert [sample.where.rpartition(", ")[2] for sample in samples] == ["line 2", "line 4"]


def test_a_part_that_ends_where_it_begins_is_an_error_that_says_so(read):
    with pytest.raises(UserError, match=r"line 2: start_s and end_s are the same, which leaves no events$"):
        read("file,label,start_s,end_s\nx.bin,a,1.5,1.50\n")
