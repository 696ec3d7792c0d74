"""Events that come as UDP datagrams, in the formats that faery sends."""

import contextlib
import select
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from src.command_line import UserError
from src.events.events import Events

FORMATS = {  # fields of an event, little-endian, without gaps; a datagram holds whole events
    "t64_x16_y16_on8": np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")]),
    "t32_x16_y15_on1": np.dtype([("t", "<u4"), ("x", "<u2"), ("y_on", "<u2")]),
}
LATEST = 10**18  # microseconds
MOST_BYTES = 1 << 20  # of datagrams that are handed out together
BUFFER_BYTES = 1 << 23  # that the system is asked to keep; it may give less
WAIT_SECONDS = 0.2  # between looks at whether to stop
_LARGEST_DATAGRAM = 1 << 16
_MEMORY, _DROPS = 55, 8  # SO_MEMINFO of Linux: numbers of 32 bits, of which one counts the datagrams without room


@dataclass(frozen=True)
class UdpAddress:
    """Where datagrams come, and in which format.

    Attributes:
        host: name or address of this machine; None for all of its addresses.
        port: 0 lets the system choose one.
        format: one of FORMATS.
    """

    host: str | None
    port: int
    format: str

    @classmethod
    def parse(cls, url: str) -> "UdpAddress":
        """Return the address that a text names, such as udp://0.0.0.0:7777 or udp://[::1]:7777/t32_x16_y15_on1.

        Raises:
            UserError: for anything else.
        """
        first, *_ = FORMATS
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UserError(f"{url}: {error}; give udp://HOST:PORT") from error
        if parts.scheme != "udp" or port is None or parts.query or parts.fragment or parts.username is not None:
            raise UserError(f"{url}: give udp://HOST:PORT, such as udp://127.0.0.1:7777")
        name = parts.path.strip("/") or first
        if name not in FORMATS:
            raise UserError(f"{url}: there is no format {name}; behind the port stands one of {', '.join(FORMATS)}")
        return cls(parts.hostname, port, name)

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        return f"udp://{host}:{self.port}/{self.format}"


class EventSocket:
    """A socket that receives events.

    A datagram whose length is no multiple of an event's, or that has a time after LATEST, is left out and counted.
    Events stay in the order in which they come. A time of 32 bits goes on past 2^32: it is the one that is nearest to
    the time before it, so a silence may last half an hour.

    Raises:
        UserError: if it cannot receive at the address.

    Attributes:
        address: with the port that the system chose.
        num_malformed: datagrams so far that were left out.
    """

    def __init__(self, address: UdpAddress) -> None:
        try:
            family, kind, _, _, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind)
        except (OSError, UnicodeError) as error:
            raise UserError(f"{address}: there is no such host: {_reason(error)}") from error
        try:
            self._socket.bind(place)
        except OSError as error:
            self._socket.close()
            raise UserError(f"{address}: cannot receive there: {_reason(error)}") from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.address = UdpAddress(address.host, self._socket.getsockname()[1], address.format)
        self._dtype = FORMATS[address.format]
        self._latest: int | None = None
        self.num_malformed = self._num_lost = 0

    def __enter__(self) -> "EventSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._num_lost = self.num_lost
        self._socket.close()

    @property
    def num_lost(self) -> int:
        """Return how many datagrams came so far while the system had no room for more; only Linux counts them."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # an older system, or the socket is closed
                numbers = self._socket.getsockopt(socket.SOL_SOCKET, _MEMORY, 4 * (_DROPS + 1))
                return int.from_bytes(numbers[4 * _DROPS :], sys.byteorder)
        return self._num_lost

    def events(self, check: Callable[[], None]) -> Iterator[Events]:
        """Yield events as soon as they are there, for ever.

        Args:
            check: called at least every WAIT_SECONDS; may raise to stop.
        """
        while True:
            check()
            if select.select([self._socket], [], [], WAIT_SECONDS)[0]:
                parts = [part for part in map(self._sound, self._datagrams()) if len(part)]
                if parts:
                    yield self._decoded(np.concatenate(parts))

    def _datagrams(self) -> Iterator[bytes]:
        """Yield the datagrams that are there, at most MOST_BYTES."""
        size = 0
        while size < MOST_BYTES:
            try:
                datagram = self._socket.recv(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            size += len(datagram)
            yield datagram

    def _sound(self, datagram: bytes) -> NDArray[np.void]:
        """Return the events of a datagram; none if it is malformed."""
        whole = len(datagram) // self._dtype.itemsize
        array = np.frombuffer(datagram, self._dtype, whole)
        if len(datagram) % self._dtype.itemsize or (whole and array["t"].max() > LATEST):
            self.num_malformed += 1
            return array[:0]
        return array

    def _decoded(self, array: NDArray[np.void]) -> Events:
        if "on" in (array.dtype.names or ()):
            t, y, p = array["t"].astype(np.int64), array["y"].copy(), array["on"].copy()
        else:
            latest = int(array["t"][0]) if self._latest is None else self._latest
            steps = np.diff(array["t"], prepend=np.uint32(latest & 0xFFFFFFFF)).view(np.int32)
            t = latest + np.cumsum(steps, dtype=np.int64)
            y, p = array["y_on"] >> 1, (array["y_on"] & 1).astype(np.uint8)
        self._latest = int(t[-1])
        return Events(array["x"].copy(), y, t, p)


def _reason(error: OSError | UnicodeError) -> str:
    return getattr(error, "strerror", None) or str(error)
