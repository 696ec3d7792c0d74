"""Events that come as lines of text, `t x y p`, while they are written."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError
from src.kernel_cache import cached_njit

LONGEST_LINE = 1 << 12  # bytes
_SHORTEST_LINE = 8  # bytes: "0 0 0 0\n"
_DONE, _WRONG_LINE = 0, 1


class EventLines:
    """Reads lines `t x y p` that come in pieces.

    A line holds four whole numbers with spaces, tabs or a comma between them: microseconds, column, row and polarity,
    which is 1 for ON and, in all lines, 0 or -1 for OFF. Empty lines and lines that begin with # are ignored.

    Attributes:
        num_lines: lines so far.
    """

    def __init__(self) -> None:
        self.num_lines = 0
        self._rest = b""
        self._has_off = np.zeros(2, np.bool_)

    def push(self, content: bytes) -> Events:
        """Return the events of the lines that are complete now; CorruptRecordingError for a line that is no event."""
        whole = self._rest + content
        end = whole.rfind(b"\n") + 1
        self._rest = whole[end:]
        if len(self._rest) > LONGEST_LINE:
            raise CorruptRecordingError(f"line {self.num_lines + 1} has more than {LONGEST_LINE} characters")
        return self._parsed(whole[:end])

    def finish(self) -> Events:
        """Return the event of a last line without a line break, if there is one."""
        rest, self._rest = self._rest, b""
        return self._parsed(rest + b"\n" if rest else b"")

    def _parsed(self, content: bytes) -> Events:
        raw = np.frombuffer(content, np.uint8)
        room = len(raw) // _SHORTEST_LINE + 1
        x, y = np.empty(room, np.uint16), np.empty(room, np.uint16)
        t, p = np.empty(room, np.int64), np.empty(room, np.uint8)
        status, number, lines, at = _parse(raw, x, y, t, p, self._has_off)
        self.num_lines += lines
        if status == _WRONG_LINE:
            line = content[at : content.find(b"\n", at)]
            shown = line.decode(errors="backslashreplace").strip()
            raise CorruptRecordingError(
                f"line {self.num_lines + 1}: {shown[:80]!r}: give t x y p, whole numbers: microseconds, column, row, "
                "and 0 or 1 (or -1 and 1 in all lines)"
            )
        return Events(x[:number], y[:number], t[:number], p[:number])


@cached_njit(nogil=True)
def _parse(
    raw: NDArray[np.uint8],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    t: NDArray[np.int64],
    p: NDArray[np.uint8],
    has_off: NDArray[np.bool_],
) -> Any:
    """Write the events of whole lines; return (status, events, lines, where the line begins that is wrong).

    `has_off` says whether 0 and whether -1 stood for OFF so far.
    """
    most = (np.int64(10) ** 18, np.int64(65535), np.int64(65535), np.int64(1))
    number = lines = at = 0
    values = np.empty(4, np.int64)
    while at < len(raw):
        begin = at
        fields = 0
        while True:
            while raw[at] == 32 or raw[at] == 9 or raw[at] == 13 or (raw[at] == 44 and fields > 0):  # " ", \t, \r, ","
                at += 1
            if raw[at] == 10:  # \n
                break
            if raw[at] == 35 and fields == 0:  # "#"
                while raw[at] != 10:
                    at += 1
                break
            if fields == 4:
                return _WRONG_LINE, number, lines, begin
            negative = raw[at] == 45 and (fields == 0 or fields == 3)  # "-"
            at += negative
            digits, value = 0, np.int64(0)
            while 48 <= raw[at] <= 57 and digits < 19:
                value = value * 10 + (raw[at] - 48)
                digits += 1
                at += 1
            is_end = raw[at] == 32 or raw[at] == 9 or raw[at] == 13 or raw[at] == 44 or raw[at] == 10
            if digits == 0 or not is_end or value > most[fields] or value < 0:
                return _WRONG_LINE, number, lines, begin
            values[fields] = -value if negative else value
            fields += 1
        at += 1
        if fields == 4:
            t[number], x[number], y[number], p[number] = values[0], values[1], values[2], values[3] == 1
            has_off[0] |= values[3] == 0
            has_off[1] |= values[3] == -1
            if has_off[0] and has_off[1]:
                return _WRONG_LINE, number, lines, begin
            number += 1
        elif fields > 0:
            return _WRONG_LINE, number, lines, begin
        lines += 1
    return _DONE, number, lines, at
