"""labels.csv: columns that are not used are named."""

import pytest

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
