"""The one reader and writer of YAML: the numbers of YAML 1.2, and limits on what a small text may grow to."""

import re
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError
from yaml.scanner import ScannerError

MOST_BYTES = 1 << 20  # of a text
MOST_DEPTH = 50  # sections or lists within each other
MOST_VALUES = 100_000  # with each anchor counted wherever it is used
MOST_DIGITS = 100  # of a whole number; a longer one stays text, which no option takes
MOST_SHOWN = 200  # characters of what is wrong

_WHOLE = rf"[-+]?[0-9]{{1,{MOST_DIGITS}}}|0o[0-7]{{1,{MOST_DIGITS}}}|0x[0-9a-fA-F]{{1,{MOST_DIGITS}}}"
_FRACTION = (
    r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
# Tag, what a plain word must look like, and the characters that it may begin with.
_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _WHOLE, list("-+0123456789")),
    ("float", _FRACTION, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)


class YamlError(ValueError):
    """The text cannot be read; its message says in which line and why."""


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text: dicts, lists, text, numbers, booleans and None.

    `010` is 10, and `1:30` and dates are text, as in YAML 1.2. A key that stands twice is an error.

    Raises:
        YamlError: if the text is not valid, or larger than the limits of this module.
    """
    if len(text) > MOST_BYTES:
        raise YamlError(f"longer than {MOST_BYTES:,} characters")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        # A word or a quote that is not closed is noticed behind its line, in which it began.
        marks = (
            ("context_mark", "problem_mark") if isinstance(error, ScannerError) else ("problem_mark", "context_mark")
        )
        mark = next(filter(None, (getattr(error, name, None) for name in marks)), None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed"
        where = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{where}not valid YAML: {problem[:MOST_SHOWN]}") from error


def decode(content: bytes) -> str:
    """Return a file's bytes as text, without a byte order mark.

    Raises:
        YamlError: if they are not UTF-8, or too many.
    """
    if len(content) > MOST_BYTES:
        raise YamlError(f"larger than {MOST_BYTES:,} bytes; is it a YAML file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError("not a UTF-8 text file; is it a YAML file?") from error


def dump_yaml(value: Any) -> str:
    """Return YAML that this reader and those of YAML 1.1 read as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the words and numbers of YAML 1.2, and a limit on depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as in PyYAML
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse depth before it exhausts Python's stack, and length before it takes seconds."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise _too_much(f"more than {MOST_VALUES:,} values", self.peek_event())
        if self._depth > MOST_DEPTH:
            raise _too_much(f"more than {MOST_DEPTH} levels within each other", self.peek_event())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_bool(self, node: Any) -> bool:
        """Read true and false."""
        word = self.construct_scalar(node).lower()
        if word not in ("true", "false"):
            raise _problem(f"{word[:40]!r} is neither true nor false", node)
        return bool(word == "true")

    def construct_yaml_int(self, node: Any) -> int:
        """Read 010 as 10."""
        word = self.construct_scalar(node)
        if not re.fullmatch(_WHOLE, word):
            raise _problem(f"{word[:40]!r} is not a whole number", node)
        return int(word, {"0o": 8, "0x": 16}.get(word[:2], 10))

    def construct_yaml_float(self, node: Any) -> float:
        """Read .inf and .nan, and what Python reads."""
        word = self.construct_scalar(node)
        if not re.fullmatch(f"{_FRACTION}|{_WHOLE}", word):
            raise _problem(f"{word[:40]!r} is not a number", node)
        return float(re.sub(r"\.(?=[a-zA-Z])", "", word))


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts quotes around whatever YAML 1.1 or 1.2 would not read as text."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        """Escape Unicode's line breaks, which PyYAML writes as they are and reads as blanks."""
        style = '"' if {"\x85", "\u2028", "\u2029"} & set(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_yaml_bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
for _tag, _pattern, _first in _PLAIN:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})\Z"), _first)


def _problem(problem: str, place: Any) -> ConstructorError:
    return ConstructorError(None, None, problem, place.start_mark)


def _too_much(problem: str, place: Any) -> YamlError:
    return YamlError(f"line {place.start_mark.line + 1}: {problem}")


def _count_values(node: Any, counts: dict[int, int]) -> int:
    """Return how many values a node stands for, itself included; `counts` has those of the nodes seen before.

    PyYAML shares what an anchor names, but copies it for a merge key, and so does everyone who prints it.
    """
    if id(node) in counts:
        if not counts[id(node)]:
            raise _problem("an anchor that contains itself", node)
        return counts[id(node)]
    counts[id(node)] = 0  # until it is known
    count = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        count += sum(1 + _count_values(value, counts) for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_count_values(value, counts) for value in node.value)
    if count > MOST_VALUES:
        raise _too_much(f"more than {MOST_VALUES:,} values, with those that anchors repeat", node)
    counts[id(node)] = count
    return count


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem("a key must be a word", key)
        if key.value in seen:
            raise _problem(f"key {key.value!r} stands twice", key)
        seen.add(key.value)
