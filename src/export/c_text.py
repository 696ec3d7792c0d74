"""Pieces of C source text: comments, strings and initialisers."""

import re
import textwrap
from collections.abc import Iterable


def comment(lines: list[str]) -> str:
    """Return a comment; nothing in the lines ends it or begins another one."""
    return "/* " + "\n * ".join(lines).replace("*/", "* /").replace("/*", "/ *") + " */\n"


def string(text: str) -> str:
    """Return a C string; all that could mean something to a compiler, trigraphs included, is written in octal."""
    return '"' + re.sub(rb"[^A-Za-z0-9 _.,+-]", lambda match: b"\\%03o" % match[0][0], text.encode()).decode() + '"'


def array(items: Iterable[object], if_none: str = "0") -> str:
    """Return the items of an initialiser, several per line; C has no empty arrays, so there is at least one."""
    return textwrap.fill(
        ", ".join(map(str, items)) or if_none,
        116,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
