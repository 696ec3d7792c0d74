"""What Prophesee's formats share: a header of text lines, and data that a kernel reads in parts.

A file begins with lines "% keyword value". The header ends after the line "% end", or before the first line that does
not begin so. Source: Metavision's pages "RAW File Format" and "DAT File Format", and OpenEB's `psee_raw_file_header`
for what the files of older software lack: a file without the line "format" has "evt", and one without both, or without
a geometry, has a "system_ID" that stands for a camera.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside
from src.events.formats.windows import in_pieces

BEGINNING = b"% "
LARGEST_HEADER = 1 << 16  # bytes
LARGEST_SIDE = 1 << 14  # pixels; DAT has 14 bits for a coordinate

# Places in the state of a kernel: where it goes on in the file; bytes that give no event although they should; events
# outside the sensor; events before the event before them, as in windows.py; the first event outside. A kernel's own
# places follow.
AT, UNREAD, OUTSIDE, BACK, FIRST_X, FIRST_Y, FIRST_P, SHARED = range(8)

_EVT2, _EVT21, _EVT3 = "EVT2", "EVT21", "EVT3"
_NAMES = {"EVT2": _EVT2, "EVT20": _EVT2, "EVT21": _EVT21, "EVT3": _EVT3, "EVT30": _EVT3}  # without dots
_VGA, _HD = (640, 480), (1280, 720)
_VGA_EVT2 = (0x15, 0x17, 0x19, 0x1C, 0x1D, 0x21, 0x22, 0x23, 0x29, 0x97, 0x99, 0xA1, 0xA2)
_CAMERAS = {  # of each "system_ID" of OpenEB's list, what it records if the header does not say
    **dict.fromkeys(_VGA_EVT2, (_EVT2, _VGA)),
    **dict.fromkeys((0x1A, 0x1F, 0x27), (_EVT2, _HD)),
    **dict.fromkeys((0x1E, 0x2E, 0x30, 0x31, 0x32), (_EVT3, _HD)),
    0x28: (_EVT3, _VGA),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f]")
_WHOLE_LINES = re.compile(rb"(?:%(?: [^\x00-\x08\x0a-\x1f]*)?\r*\n)*")
_FIRST_NOT_LEGACY = 0x37  # "system_ID" from which on EVT 2.1 is not in halves, if the header does not say


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        fields: keyword -> value.
        end: the byte after it.
        problem: what makes it unusable; "" if nothing does.
    """

    fields: dict[str, str]
    end: int
    problem: str = ""

    @property
    def is_dat(self) -> bool:
        """Whether it is one of a DAT file, which holds decoded events."""
        return "Data" in self.fields or ("Version" in self.fields and not self._is_of_camera())

    @property
    def is_raw(self) -> bool:
        """Whether it is one of a RAW file, which holds a camera's words."""
        return self._is_of_camera() and not self.is_dat

    @property
    def encoding(self) -> str:
        """EVT2, EVT21 or EVT3; another encoding's name as it stands there; "" if nothing says what it is."""
        if "format" in self.fields:
            name = self.fields["format"].partition(";")[0].strip()
        elif "evt" in self.fields:
            name = f"EVT{self.fields['evt']}"
        else:
            return self._camera()[0]
        return _NAMES.get(name.upper().replace(".", ""), name)

    @property
    def endianness(self) -> str:
        """The order of a word's bytes: "little", "legacy", or what else the header says."""
        stated = self._options().get("endianness") or self.fields.get("endianness")
        if stated:
            return stated
        is_legacy = self.encoding == _EVT21 and 0 < self._system() < _FIRST_NOT_LEGACY and self._is_prophesee()
        return "legacy" if is_legacy else "little"

    def sensor_size(self) -> tuple[int, int] | None:
        """Return the sensor's width and height in pixels, or None; CorruptRecordingError if they contradict."""
        return self._sensor_size

    @functools.cached_property
    def _sensor_size(self) -> tuple[int, int] | None:
        options = self._options()
        stated = [
            tuple(self.fields.get("geometry", "").split("x")),
            (options.get("width", ""), options.get("height", "")),
            (self.fields.get("Width", ""), self.fields.get("Height", "")),
        ]
        sizes = {(_side(size[0]), _side(size[1])) for size in stated if len(size) == 2 and all(size)}
        if len(sizes) > 1:
            raise CorruptRecordingError(f"its header gives sensors of {' and '.join(f'{w} x {h}' for w, h in sizes)}")
        return sizes.pop() if sizes else self._camera()[1]

    def _is_of_camera(self) -> bool:
        return any(keyword in self.fields for keyword in ("evt", "format", "system_ID"))

    def _options(self) -> dict[str, str]:
        options = (option.partition("=") for option in self.fields.get("format", "").split(";")[1:])
        return {name.strip(): value.strip() for name, _, value in options}

    def _system(self) -> int:
        text = self.fields.get("system_ID", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0

    def _is_prophesee(self) -> bool:
        keywords = ("integrator_name", "camera_integrator_name", "plugin_integrator_name")
        return {self.fields[keyword] for keyword in keywords if keyword in self.fields} <= {"Prophesee"}

    def _camera(self) -> tuple[str, tuple[int, int] | None]:
        return _CAMERAS.get(self._system(), ("", None)) if self._is_prophesee() else ("", None)


def _side(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 0 < int(text) <= LARGEST_SIDE):
        raise CorruptRecordingError(f"its header gives a sensor with a side of {text[:20]!r} pixels")
    return int(text)


def parse_header(content: bytes) -> Header:
    """Return the header that a file begins with; it has no fields if the file does not begin with one.

    A line that holds control characters is data: words of events may begin as a line does.
    """
    lines = _WHOLE_LINES.match(content, 0, LARGEST_HEADER)
    assert lines is not None  # there may be none of them
    if content.startswith((BEGINNING, b"%\n", b"%\r"), lines.end()):  # it ends within a line, or data follow
        return _parsed(content[:LARGEST_HEADER])
    return _parsed_once(lines[0])


def _parsed(content: bytes) -> Header:
    fields: dict[str, str] = {}
    begin = 0
    while content.startswith((BEGINNING, b"%\n", b"%\r"), begin):
        end = content.find(b"\n", begin)
        line = content[begin : end if end >= 0 else len(content)].rstrip(b"\r")
        if _CONTROL.search(line):
            break
        if end < 0:
            is_large = len(content) == LARGEST_HEADER
            problem = f"its header has more than {LARGEST_HEADER} bytes" if is_large else "it ends within its header"
            return Header(fields, begin, problem)
        begin = end + 1
        keyword, _, value = line[2:].decode(errors="replace").strip().partition(" ")
        if keyword == "end":
            break
        fields[keyword] = value.strip()
    return Header(fields, begin)


_parsed_once = functools.lru_cache(maxsize=8)(_parsed)  # each format looks at a file's header, and files are alike


def raw_header(content: bytes, encoding: str) -> Header:
    """Return the header of a RAW file; CorruptRecordingError if it is none of this encoding, or not whole."""
    header = parse_header(content)
    if not header.is_raw or header.encoding != encoding:
        raise CorruptRecordingError(f"its header is none of a RAW file in {encoding}")
    if header.problem:
        raise CorruptRecordingError(header.problem)
    known = ("little", "legacy") if encoding == _EVT21 else ("little",)
    if header.endianness not in known:
        raise ForeignRecordingError(f"its words are {header.endianness[:20]!r} endian; {' and '.join(known)} are read")
    return header


def is_raw(content: bytes, encoding: str) -> bool:
    """Return whether a file is a RAW file in this encoding."""
    if not content.startswith(b"%"):
        return False
    header = parse_header(content)
    return header.is_raw and header.encoding == encoding


Kernel = Callable[..., int]  # (raw, end, state, width, height, x, y, t, p) -> number of events


@dataclass(frozen=True)
class Data:
    """The data of a file behind its header.

    Attributes:
        content: the file, uint8 [N].
        begin: where the data begin.
        word_bytes: bytes of a word.
        most_per_word: most events of a word.
        kernel: writes the next events to arrays until they are full or the words are over; returns the number.
        state: what the kernel keeps between calls, int64.
        sensor: the sensor's width and height in pixels; events outside are left out.
    """

    content: NDArray[np.uint8]
    begin: int
    word_bytes: int
    most_per_word: int
    kernel: Kernel
    state: NDArray[np.int64]
    sensor: tuple[int, int]

    @property
    def end(self) -> int:
        """Where the last whole word ends."""
        return len(self.content) - self.num_rest

    @property
    def num_rest(self) -> int:
        """Bytes behind the last whole word."""
        return (len(self.content) - self.begin) % self.word_bytes

    def windows(self, most_events: int) -> Iterator[Events]:
        """Yield the events in parts of at most `most_events`.

        Raises:
            CorruptRecordingError: at the end, if there were bytes but not one event.
            ForeignRecordingError: at the end, if too many events lie outside the sensor.
        """
        if most_events < 1:
            raise ValueError(f"most_events must be at least 1, got {most_events}")
        self.state[AT] = self.begin
        total, is_over = 0, False
        while not is_over:
            before = self.state.copy()
            num_words = (self.end - int(self.state[AT])) // self.word_bytes + 1  # one may be half done
            room = min(most_events, num_words * self.most_per_word)
            arrays: tuple[NDArray[Any], ...] = (
                np.empty(room, np.uint16),
                np.empty(room, np.uint16),
                np.empty(room, np.int64),
                np.empty(room, np.uint8),
            )
            n = self.kernel(self.content, self.end, self.state, *self.sensor, *arrays)
            is_over = n < room
            total += n
            unread, outside, back = (int(self.state[place] - before[place]) for place in (UNREAD, OUTSIDE, BACK))
            x, y, t, p = (array[:n] for array in arrays)
            events = Events(x, y, t, p, unread + (self.num_rest if is_over else 0), outside, back)
            if is_over:
                self._check(total, int(self.state[UNREAD]) + self.num_rest)
            if n or events.num_unread or events.num_outside:
                yield events

    def pieces(self, following: Iterator[bytes]) -> Iterator[Events]:
        """Yield the events of these data and of the bytes that follow, as soon as they are there.

        Raises what `windows` raises.
        """

        def fill(content: NDArray[np.uint8], *arrays: NDArray[Any]) -> int:
            end = len(content) - (len(content) - int(self.state[AT])) % self.word_bytes
            return self.kernel(content, end, self.state, *self.sensor, *arrays)

        def finish(num_events: int) -> None:
            self._check(num_events, int(self.state[UNREAD]))

        return in_pieces(fill, self.state, chain([self.content[self.begin :].tobytes()], following), finish)

    def whole(self, most_events: int) -> Events:
        """Return all events, which are at most `most_events`; raises what `windows` raises."""
        for events in self.windows(most_events + 1):
            return events
        return Events(np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, np.int64), np.empty(0, np.uint8))

    def _check(self, num_inside: int, num_unread: int) -> None:
        num_outside = int(self.state[OUTSIDE])
        if num_outside:
            (width, height), (x, y, p) = self.sensor, self.state[[FIRST_X, FIRST_Y, FIRST_P]]
            sensor = f"x {x}, y {y} is none of {width} x {height} pixels" if p < 2 else f"{p} is no polarity"
            check_outside(num_outside, num_inside + num_outside, sensor)
        if num_inside == 0 and num_unread:
            raise CorruptRecordingError(f"no event in it can be read: {num_unread} bytes have no place or no time")


def pieces_by(data_of: Callable[[NDArray[np.uint8]], Data]) -> Callable[[Iterator[bytes]], Iterator[Events]]:
    """Return what `Format.pieces` is for a format with this function from a file's bytes to its data."""

    def pieces(content: Iterator[bytes]) -> Iterator[Events]:
        return data_of(np.frombuffer(next(content, b""), np.uint8)).pieces(content)

    return pieces


def check_encodable(events: Events, sensor: tuple[int, int], largest: int = 1 << 50) -> int:
    """Return the last timestamp, 0 if there is none.

    Raises:
        ValueError: if events are not on the sensor, not in the order of time, of another polarity than 0 and 1, or have
            timestamps outside 0 to `largest`.
    """
    if len(events) == 0:
        return 0
    if events.x.max() >= sensor[0] or events.y.max() >= sensor[1] or events.p.max() > 1:
        raise ValueError(f"events must lie on {sensor[0]} x {sensor[1]} pixels, with p in 0 to 1")
    if events.t[0] < 0 or events.t[-1] > largest or np.any(events.t[1:] < events.t[:-1]):
        raise ValueError(f"timestamps must be in order, and in 0 to {largest} microseconds")
    return int(events.t[-1])
