"""The YAML reader: the numbers of YAML 1.2, and texts that would grow."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from src.options.yaml_text import MOST_BYTES, MOST_DIGITS, YamlError, decode, dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-010", -10),
        ("08", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("!!int 010", 10),
        ("1e-2", 0.01),
        ("+12e3", 12000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -float("inf")),
        ("!!float 3", 3.0),
        ("True", True),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_word_is_the_number_of_yaml_1_2(text, value):
    read = parse_yaml(f"a: {text}")["a"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["1:30", "2024-13-45", "2024-01-01", "0b11", "1_000", "yes", "off", "=", "0x"])
def test_what_yaml_1_2_does_not_know_is_text(text):
    assert parse_yaml(f"a: {text}") == {"a": text}


def test_a_whole_number_of_too_many_digits_stays_text():
    assert parse_yaml("9" * MOST_DIGITS) == int("9" * MOST_DIGITS)
    for beginning, digit in (("", "9"), ("0x", "f"), ("0o", "7")):
        assert parse_yaml(word := beginning + digit * 500_000) == word


def bomb(entry):
    """Ten anchors, each of which holds the one before nine times."""
    lines = ["a: &a {x: 1, y: 2}"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{name}: &{name} {entry.format(', '.join([f'*{before}'] * 9))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb("[{}]"), "line 6: more than 100,000 values, with those that anchors repeat"),
        (bomb("{{<<: [{}]}}"), "line 6: more than 100,000 values, with those that anchors repeat"),
        ("a: &a [*a]", "line 1: not valid YAML: an anchor that contains itself"),
        ("a: &a {<<: *a}", "line 1: not valid YAML: an anchor that contains itself"),
        ("- 1\n" * 250_000, "line 100000: more than 100,000 values"),
        ("[" * 200_000, "line 1: more than 50 levels"),
        ("- " * 200_000, "line 1: more than 50 levels"),
        ("x" * (MOST_BYTES + 1), "longer than 1,048,576 characters"),
        ("!" + "x" * 500_000, "line 1: not valid YAML: could not determine a constructor"),
    ],
    ids=range(9),
)
def test_a_text_that_would_grow_is_refused_at_once(text, problem):
    with pytest.raises(YamlError) as error:
        parse_yaml(text)
    assert problem in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["!!timestamp 2024-13-45", "!!int x", "!!float x", "!!bool x", "!!binary x", "!!python/object:os.system {}", "\a"],
)
def test_what_cannot_be_read_is_one_kind_of_error(text):
    with pytest.raises(YamlError, match="not valid YAML"):
        parse_yaml(f"a: {text}")


def test_a_key_beside_a_merge_key_counts_and_does_not_stand_twice():
    text = "base: &base {x: 0, y: 1}\nd: {inner: &other {<<: *base, x: 2}}\ne: {<<: *other}"
    assert parse_yaml(text)["e"] == {"x": 2, "y": 1}
    with pytest.raises(YamlError, match="line 2: not valid YAML: key 'x' stands twice"):
        parse_yaml("x: 1\nx: 2")


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_text():
    assert parse_yaml(decode(b"\xef\xbb\xbfa: x\r\nb: |\r\n  y\r\n  z\r\n")) == {"a": "x", "b": "y\nz\n"}


def test_bytes_that_are_not_utf_8_or_too_many_are_refused():
    for content in (b"\xff\xfea\0", b"a" * (MOST_BYTES + 1)):
        with pytest.raises(YamlError, match="is it a YAML file"):
            decode(content)


@example("\x85")
@example("a\u2028 b\u2029")
@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[-+0-9._:eEoxabf~=<]{1,12}", fullmatch=True),
        st.floats(allow_nan=False),
        st.integers(-(10**40), 10**40),
        st.booleans(),
        st.none(),
    )
)
def test_what_is_written_is_read_again_by_this_reader_and_by_yaml_1_1(value):
    text = dump_yaml({"a": value})
    assert parse_yaml(text) == yaml.safe_load(text) == {"a": value}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb 2\nc: 3\n", 2),
        ("a: 1\nb: 'x\nc: 3\n", 2),
        ("a: 1\nb: c: 3\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a: [1\nb: 2\n", 2),
    ],
)
def test_an_error_names_the_line_that_is_wrong(text, line):
    with pytest.raises(YamlError, match=f"^line {line}: not valid YAML"):
        parse_yaml(text)
