"""Print the items of a list of jobs or a file of resources, for slurm_submit.sh.

Run as `slurm_files.py list FILE` or `slurm_files.py resources FILE`, by the Python of a login node: it needs Python 3.6
and the standard library only. For each item it prints the number of its line, the number of its words, and the words,
and a NUL after each of them. The words of a job are CONFIG JOB_ID OPTION...; those of a resource, its name and value.
A mistake in the file is one line on standard error and exit code 2.
"""

import re
import sys
from pathlib import Path

# Words follow the shell's rules. shlex differs: it ends a word at any '#', and keeps the backslash of "\$".
_PIECE = re.compile(
    r"""
    (?P<blank>[ \t]+)
    | '(?P<single>[^']*)'
    | "(?P<double>(?:[^"\\]|\\.)*)"
    | \\(?P<escaped>.)
    | (?P<plain>[^ \t"'\\]+)
    """,
    re.VERBOSE,
)
_ENTRY = re.compile(r"([A-Za-z][A-Za-z0-9-]*):(?:[ \t]+(.*))?")
_QUOTED = re.compile(r"""(?:"([^"\\]*)"|'([^']*)')[ \t]*(?:#.*)?""")
_NOT_TEXT = tuple("\"'[{|>&*!")  # what a YAML value that is not plain text begins with


def read_lines(path: str) -> "list[str]":
    """Return a file's lines without what editors on Windows add: a byte order mark and carriage returns."""
    content = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    if "\0" in content:
        raise ValueError("line 1: not a text in UTF-8")
    lines = (content[1:] if content.startswith("\ufeff") else content).split("\n")
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def split_words(line: str) -> "list[str]":
    """Return the words of a line by the shell's rules of quotes, backslashes and comments; nothing is expanded."""
    words = []  # type: list[str]
    word, place = None, 0
    while place < len(line) and not (word is None and line[place] == "#"):
        piece = _PIECE.match(line, place)
        if piece is None:
            raise ValueError("a quote is not closed")
        place, text = piece.end(), piece.group(str(piece.lastgroup))
        if piece.lastgroup == "blank":
            words += [] if word is None else [word]
            word = None
            continue
        if piece.lastgroup == "double":
            text = re.sub(r'\\(["\\$`])', r"\1", text)
        word = (word or "") + text
    return words if word is None else [*words, word]


def read_job(line: str) -> "list[str]":
    """Return the words of a job; none for a line without one."""
    words = split_words(line)
    if len(words) == 1:
        raise ValueError("a line is CONFIG JOB_ID [options of train.sh]")
    return words


def read_resource(line: str) -> "list[str]":
    """Return the name and the value of an option of sbatch; nothing for a line without one."""
    if re.fullmatch(r"[ \t]*(#.*)?", line):
        return []
    entry = _ENTRY.fullmatch(line)
    value = (entry.group(2) or "") if entry else ""
    quoted = _QUOTED.fullmatch(value)
    if entry is None or (quoted is None and value.startswith(_NOT_TEXT)):
        raise ValueError(f"cannot read '{line}'; a line is 'name: value', with a long option name of sbatch")
    if quoted is not None:
        return [entry.group(1), quoted.group(1) or quoted.group(2) or ""]
    return [entry.group(1), re.sub(r"(^|[ \t])#.*", "", value).rstrip(" \t")]


def read_items(kind: str, path: str) -> "list[str]":
    """Return what is to be printed for the file; ValueError, with the line, for what is wrong in it."""
    read, name_at, named = {"list": (read_job, 1, "job id "), "resources": (read_resource, 0, "")}[kind]
    texts = []  # type: list[str]
    line_of = {}  # type: dict[str, int]
    for number, line in enumerate(read_lines(path), start=1):
        try:
            words = read(line)
            before = line_of.setdefault(words[name_at], number) if words else number
            if before != number:
                raise ValueError(f"{named}{words[name_at]} stands in line {before} already")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if words:
            texts += [str(number), str(len(words)), *words]
    return texts


def main() -> int:
    """Run the command line."""
    kind, path = sys.argv[1:]
    try:
        texts = read_items(kind, path)
    except ValueError as error:
        print(f"{path}, {error}", file=sys.stderr)
        return 2
    sys.stdout.buffer.write("".join(text + "\0" for text in texts).encode("utf-8", "surrogateescape"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
