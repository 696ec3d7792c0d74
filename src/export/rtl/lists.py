"""Lists in generated Verilog, over as many lines as they need: tools limit the length of a line."""

from collections.abc import Iterable

MOST_COLUMNS = 120
_INDENT = 8


def wrapped(terms: Iterable[str], separator: str = ",") -> str:
    """Return the terms with separators between them, in indented lines of at most MOST_COLUMNS."""
    lines: list[str] = []
    line = ""
    for term in terms:
        if line and _INDENT + len(line) + len(f"{separator} {term}{separator}") > MOST_COLUMNS:
            lines.append(line + separator)
            line = term
        else:
            line = f"{line}{separator} {term}" if line else term
    return "\n".join(" " * _INDENT + each for each in [*lines, line])


def unused_wire(signals: Iterable[str], name: str = "_unused") -> str:
    """Return a wire that reads signals which nothing else does, since linters want a reader of everything; or ""."""
    read = list(signals)
    lines = wrapped(["1'b0", *read])
    return f"    wire {name} = &{{\n{lines}\n    }};\n" if read else ""
