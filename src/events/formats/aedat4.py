"""AEDAT 4: iniVation's format, in which CIFAR10-DVS is distributed.

A file is the line `#!AER-DAT4.0`, the header and packets; integers are little-endian. The header is the flatbuffer
IOHeader {compression: int32, dataTablePosition: int64, infoNode: string} after its size (uint32). A packet is the
number of its stream (int32), its size (int32) and that many bytes, which decompress to a flatbuffer after its size.
infoNode is an XML text that says what each stream holds. Packets end where the FileDataTable begins, or with the file
if dataTablePosition is -1. Source: the `dv-processing` library's flatbuffer schemas, and files that it wrote.

This reader takes less time than tonic's and the `aedat` package under it (benchmarks/readers.py). Most of its time goes
into decompression. Unlike them it trusts no offset and no size. A packet that expands by more than 256 times and 1 MiB,
or to more than 64 MiB, is refused, and so is a file whose events expand by more than 64 times and 64 MiB. So memory
stays in proportion to the file, and that of `windows` does not depend on the file.

A file may have been cut short, because its writer was killed or its copy is incomplete: then it has no FileDataTable
where its header says, or its header has no position of one. Such a file is read up to its first incomplete or damaged
packet. In a file that was written to its end, a damaged packet means that the disk or a transfer has damaged the file,
and all of it is corrupt.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from xml.etree import ElementTree

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.aedat4_kernels import CUT, CUT_EVENTS, NO_EVENTS, OUTSIDE, unpack, unpack_plain
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.format import Format
from src.events.formats.windows import NO_TIME, empty_events, joined, read_only, steps_back

MAGIC = b"#!AER-DAT4.0\r\n"
NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)  # kinds of compression
NO_TABLE = -1  # dataTablePosition of a file without a FileDataTable

LARGEST_HEADER = 1 << 18  # bytes
LARGEST_PACKET = 1 << 26  # bytes, decompressed
LARGEST_PLAIN_PACKET = 1 << 20  # bytes, decompressed, which the kernel does itself
LARGEST_PACKET_RATIO = 256  # a packet may expand by this, and by 1 MiB more; LZ4 cannot reach it
LARGEST_RATIO = 64  # a file may expand by this, and by one packet more; an event would take a quarter of a byte
SMALLEST_ROOM = 1 << 17  # events to unpack at once, also for smaller windows: most packets have fewer
EXPECTED_BYTES_PER_EVENT = 4  # compressed; less is rare, and costs a copy
CHUNK = 1 << 16  # bytes to decompress at once; most packets are smaller

_EVENT = np.dtype(
    {"names": ["t", "x", "y", "on"], "formats": ["<i8", "<u2", "<u2", "u1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)
_TABLE_ROW = np.dtype(
    [
        ("padding", "<u4"),
        ("vtable", "<i4"),  # how far before this field it lies
        ("position", "<i8"),  # of the packet's data in the file
        ("stream", "<i4"),
        ("size", "<i4"),
        ("num_events", "<i8"),
        ("first_t", "<i8"),
        ("last_t", "<i8"),
    ]
)
_Arrays = tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint8]]  # x, y, t and p
_PACKET = struct.Struct("<ii")
_UINT16, _UINT32, _INT32, _INT64 = map(struct.Struct, ("<H", "<I", "<i", "<q"))
_INFO = """<dv version="2.0">
    <node name="outInfo" path="/outInfo/">
        <node name="0" path="/outInfo/0/">
            <attr key="compression" type="string">{compression}</attr>
            <attr key="originalModuleName" type="string">simulation</attr>
            <attr key="originalOutputName" type="string">events</attr>
            <attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
            <attr key="typeIdentifier" type="string">EVTS</attr>
            <node name="info" path="/outInfo/0/info/">
                <attr key="sizeX" type="int">{width}</attr>
                <attr key="sizeY" type="int">{height}</attr>
                <attr key="source" type="string">simulation</attr>
            </node>
        </node>
    </node>
</dv>
"""


def decode(content: bytes) -> Events:
    """Return the events of an AEDAT 4 file's lowest-numbered events stream, equal to `tonic.io.read_aedat4`.

    Other streams, such as frames, IMU samples, triggers and further events, are passed over. Timestamps stay as they
    are, microseconds since 1970 in most files. `num_unread` of the result says how many bytes of a file that was cut
    short were left out or are missing.

    Raises:
        CorruptRecordingError: if it is no AEDAT 4, damaged, cut short before its first events, or if its packets expand
            beyond this module's limits.
    """
    return joined(_windows(read_only(content), None))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, as `decode` returns them; raises the same errors."""
    if most_events < 1:
        raise ValueError(f"a window must hold at least 1 event, got {most_events}")
    yield from _windows(read_only(content), most_events)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height by the description of the stream that is read; None if it has none."""
    return _read_header(read_only(content[: len(MAGIC) + 4 + LARGEST_HEADER])).sensor_size


@dataclass(frozen=True)
class _Header:
    """What the header says.

    Attributes:
        size: bytes up to the first packet.
        compression: of the packets.
        table_position: of the FileDataTable in the file, or NO_TABLE.
        stream: number of the events stream to read.
        sensor_size: (W, H) of that stream, if the header has it.
    """

    size: int
    compression: int
    table_position: int
    stream: int
    sensor_size: tuple[int, int] | None


def _windows(content: NDArray[np.uint8], most_events: int | None) -> Iterator[Events]:
    """Yield the events in parts of at most `most_events`, or in one part if it is None."""
    header = _read_header(content)
    table_position = header.table_position
    is_cut = table_position == NO_TABLE or table_position >= len(content)
    packets_end = len(content) if table_position == NO_TABLE else table_position
    cut_or_damaged = CorruptRecordingError(
        f"it is cut short or damaged: by its header the packets end at byte {packets_end}, it has {len(content)} bytes"
    )
    if packets_end < header.size:
        raise cut_or_damaged
    end = min(packets_end, len(content))
    decompress = _decompressor(header.compression)
    most_bytes = LARGEST_PACKET + LARGEST_RATIO * len(content)
    expected = len(content) // EXPECTED_BYTES_PER_EVENT
    room = expected if most_events is None else min(expected, max(most_events, SMALLEST_ROOM))
    arrays = empty_events(room)
    body_room = np.empty(LARGEST_PLAIN_PACKET, np.uint8)
    at = header.size
    n = size = num_given = 0  # events in the arrays; bytes of all packets, decompressed; events in parts given before
    last = NO_TIME
    try:
        while True:
            if header.compression in (LZ4, LZ4_HIGH):
                at, n, size = unpack_plain(content, at, end, header.stream, n, size, most_bytes, body_room, *arrays)
            if at == end:
                break
            number, packed = _packet(content, at, end)
            if number == header.stream:
                body = decompress(packed)
                if size + len(body) > most_bytes:
                    raise CorruptRecordingError(f"it decompresses to more than {most_bytes} bytes")
                most = len(body) // _EVENT.itemsize
                if n + most > len(arrays[0]):
                    if most_events is not None and n:
                        yield from _parts(arrays, n, most_events, last)
                        num_given, last, n = num_given + n, int(arrays[2][n - 1]), 0
                        arrays = empty_events(max(room, most))
                        continue
                    arrays = _grown(arrays, n, n + most)
                found = unpack(np.frombuffer(body, np.uint8), n, *arrays)
                if found < 0:
                    raise _UnsoundPacketError(_PACKET_ERRORS[found])
                n += found
                size += len(body)
            at += _PACKET.size + len(packed)
    except _UnsoundPacketError:
        if num_given + n == 0 or not is_cut:
            raise
    num_unread = max(packets_end, len(content)) - at if is_cut else 0
    if num_given + n == 0 and num_unread:
        raise cut_or_damaged
    yield from _parts(arrays, n, most_events or max(1, n), last, num_unread)


def _grown(arrays: _Arrays, n: int, more: int) -> _Arrays:
    """Return larger arrays that begin with the first n events of these."""
    grown = empty_events(n + more)
    for k in range(4):
        grown[k][:n] = arrays[k][:n]
    return grown


def _parts(
    arrays: _Arrays,
    n: int,
    most_events: int,
    last: int,
    num_unread: int = 0,
) -> Iterator[Events]:
    """Yield the first n events of the arrays in parts; the last, which may be empty, has the bytes left unread."""
    for begin in range(0, max(1, n), most_events):
        end = min(n, begin + most_events)
        x, y, t, p = arrays[0][begin:end], arrays[1][begin:end], arrays[2][begin:end], arrays[3][begin:end]
        part = Events(x, y, t, p, num_unread if end == n else 0, 0, steps_back(t, last))
        if len(part) or part.num_unread:
            yield part
            last = int(t[-1]) if len(part) else last


class _UnsoundPacketError(CorruptRecordingError):
    """A packet is incomplete or damaged."""


_PACKET_ERRORS = {
    NO_EVENTS: "a packet of the events stream holds no events",
    CUT: "a packet ends before its data",
    OUTSIDE: "an offset in a packet points outside of the data",
    CUT_EVENTS: "a packet ends before its events",
}


def _packet(content: Any, at: int, end: int) -> tuple[int, memoryview]:
    """Return the stream and the compressed bytes of the packet that begins at a position."""
    begin = at + _PACKET.size
    if begin > end:
        raise _UnsoundPacketError("it ends within a packet")
    number, size = _PACKET.unpack_from(content, at)
    if not 0 <= size <= end - begin:
        raise _UnsoundPacketError(f"it ends within a packet: {size} bytes expected, {end - begin} there")
    return number, memoryview(content)[begin : begin + size]


def _read_header(content: NDArray[np.uint8]) -> _Header:
    if content[: len(MAGIC)].tobytes() != MAGIC:
        raise CorruptRecordingError("it does not begin as AEDAT 4")
    begin = len(MAGIC) + 4
    size = _integer(_UINT32, content[:begin].tobytes(), len(MAGIC))
    if size > LARGEST_HEADER:
        raise CorruptRecordingError(f"its header of {size} bytes is too large")
    if begin + size > len(content):
        raise CorruptRecordingError("it ends within its header")
    header = content[begin : begin + size].tobytes()
    if header[4:8] != b"IOHE":
        raise CorruptRecordingError("its header is no IOHeader")
    compression_at, table_at, info_at = (_field(header, 0, index) for index in range(3))
    compression = _integer(_INT32, header, compression_at) if compression_at else NONE
    if not NONE <= compression <= ZSTD_HIGH:
        raise CorruptRecordingError(f"unknown compression {compression}")
    table_position = _integer(_INT64, header, table_at) if table_at else NO_TABLE
    if not info_at:
        raise CorruptRecordingError("its header does not describe its streams")
    text_at = info_at + _integer(_UINT32, header, info_at)
    text = header[text_at + 4 : text_at + 4 + _integer(_UINT32, header, text_at)]
    return _Header(begin + size, compression, table_position, *_events_stream(text))


@lru_cache(maxsize=8)  # the recordings of a dataset share one description
def _events_stream(info: bytes) -> tuple[int, tuple[int, int] | None]:
    """Return the number of the events stream to read, and its sensor's size if it is said."""
    if b"<!" in info:  # entities can grow without bounds; no writer declares any
        raise CorruptRecordingError("its description of streams declares entities")
    try:
        tree = ElementTree.fromstring(info.decode())
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise CorruptRecordingError(f"its description of streams is no XML: {error}") from error
    nodes = {
        int(name): node
        for node in tree.findall("node[@name='outInfo']/node")
        if _is_number(name := node.get("name", "")) and node.findtext("attr[@key='typeIdentifier']") == "EVTS"
    }
    if not nodes:
        raise CorruptRecordingError("it has no stream of events")
    number = min(nodes)
    width, height = (nodes[number].findtext(f"node[@name='info']/attr[@key='{key}']", "") for key in ("sizeX", "sizeY"))
    is_said = _is_number(width) and _is_number(height) and int(width) > 0 < int(height)
    return number, (int(width), int(height)) if is_said else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _decompressor(compression: int) -> Callable[[memoryview], bytes | memoryview]:
    """Return a function that decompresses packets, one after the other."""
    if compression == NONE:
        return lambda packed: packed
    if compression in (LZ4, LZ4_HIGH):
        chunks_of = partial(_lz4_chunks, lz4.frame.create_decompression_context())
    else:
        chunks_of = partial(_zstd_chunks, zstandard.ZstdDecompressor())

    def decompress(packed: memoryview) -> bytes:
        chunks: list[bytes] = []
        size = 0
        most = min(LARGEST_PACKET, LARGEST_PLAIN_PACKET + LARGEST_PACKET_RATIO * len(packed))
        try:
            for chunk in chunks_of(packed, most):
                size += len(chunk)
                if size > most:
                    raise CorruptRecordingError(f"a packet decompresses to more than {most} bytes")
                chunks.append(chunk)
        except (RuntimeError, zstandard.ZstdError, MemoryError) as error:
            raise _UnsoundPacketError(f"a packet does not decompress: {error}") from error
        return b"".join(chunks)

    return decompress


def _lz4_chunks(context: Any, packed: memoryview, _: int) -> Iterator[bytes]:
    at = 0
    is_end = False
    while not is_end:
        chunk, used, is_end = lz4.frame.decompress_chunk(context, packed[at:], max_length=CHUNK)
        if not (chunk or used or is_end):
            raise _UnsoundPacketError("a packet ends before its data")
        at += used
        yield chunk


def _zstd_chunks(decompressor: zstandard.ZstdDecompressor, packed: memoryview, most: int) -> Iterator[bytes]:
    try:
        if 0 <= zstandard.frame_content_size(packed) <= most:  # -1 if the frame does not say it
            yield decompressor.decompress(packed)  # at once, which takes fewer copies
            return
    except zstandard.ZstdError:
        pass  # it is damaged or cut short: what there is of it is read below
    reader = decompressor.stream_reader(packed)
    while chunk := reader.read(CHUNK):
        yield chunk


def _field(buffer: bytes | memoryview, begin: int, index: int) -> int:
    """Return where field `index` of a flatbuffer's root table lies; 0 if it is absent and has its default."""
    table = begin + _integer(_UINT32, buffer, begin)
    vtable = table - _integer(_INT32, buffer, table)
    entry = 4 + 2 * index
    if entry + 2 > _integer(_UINT16, buffer, vtable):
        return 0
    offset = _integer(_UINT16, buffer, vtable + entry)
    return table + offset if offset else 0


def _integer(kind: struct.Struct, buffer: bytes | memoryview, at: int) -> int:
    """Return the integer at a position, which a damaged file may have put anywhere."""
    if not 0 <= at <= len(buffer) - kind.size:
        raise CorruptRecordingError(f"an offset, {at}, points outside of the data")
    return kind.unpack_from(buffer, at)[0]


def encode(
    events: Events,
    sensor_size: tuple[int, int],
    compression: int = LZ4,
    packet_microseconds: int = 10_000,
) -> bytes:
    """Return the bytes of an AEDAT 4 file with one events stream and a FileDataTable; `decode` inverts it.

    Args:
        events: in the order of time; x and y below 2^15.
        sensor_size: (W, H), as the header says it.
        compression: NONE, LZ4 or ZSTD.
        packet_microseconds: a packet holds the events of so long.
    """
    records = np.zeros(len(events), _EVENT)
    records["t"], records["x"], records["y"], records["on"] = events.t, events.x, events.y, events.p
    name, compress = _COMPRESSORS[compression]
    info = _INFO.format(compression=name, width=sensor_size[0], height=sensor_size[1]).encode()
    position = len(_header(compression, 0, info))
    table = []
    packets = []
    since_first = events.t - events.t[:1]
    cuts = np.flatnonzero(np.diff(since_first // packet_microseconds)) + 1
    for part in np.split(records, cuts) if len(records) else []:
        packed = compress(_flatbuffer(b"EVTS", struct.pack("<I", len(part)) + part.tobytes()))
        table.append((0, 0, position + _PACKET.size, 0, len(packed), len(part), part["t"][0], part["t"][-1]))
        packets.append(_PACKET.pack(0, len(packed)) + packed)
        position += len(packets[-1])
    return b"".join([_header(compression, position, info), *packets, compress(_file_data_table(table))])


_COMPRESSORS: dict[int, tuple[str, Callable[[bytes], bytes]]] = {
    NONE: ("NONE", bytes),
    LZ4: ("LZ4", partial(lz4.frame.compress, store_size=False)),
    ZSTD: ("ZSTD", zstandard.compress),
}


def _header(compression: int, table_position: int, info: bytes) -> bytes:
    vtable = struct.pack("<6x5H", 10, 24, 4, 12, 8)
    table = struct.pack("<iiIq4x", 10, compression, 16, table_position)
    body = struct.pack("<I4s", 24, b"IOHE") + vtable + table + struct.pack("<I", len(info)) + info + b"\0"
    return MAGIC + struct.pack("<I", len(body)) + body


def _flatbuffer(identifier: bytes, vector: bytes) -> bytes:
    """Return a flatbuffer after its size: a table whose one field is a vector, its length and then its elements."""
    body = struct.pack("<I4s2x3HiI", 16, identifier, 6, 8, 4, 6, 4) + vector
    return struct.pack("<I", len(body)) + body


def _file_data_table(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the FileDataTable: each packet's position, size, number of events, first and last timestamp."""
    n = len(rows)
    vtable = struct.pack("<7H2x", 14, 44, 4, 12, 20, 28, 36)
    padding = b"\0" * (-(n * 4) % 8)
    records = np.array(list(rows), _TABLE_ROW)
    # From its own place, a vector's element says how far behind it lies; a row says how far before it its vtable lies.
    rows_begin = 4 * n + len(padding) + len(vtable)
    row_at = rows_begin + _TABLE_ROW.itemsize * np.arange(n) + 4
    records["vtable"] = row_at - (4 * n + len(padding))
    offsets = (row_at - 4 * np.arange(n)).astype("<u4")
    return _flatbuffer(b"FTAB", struct.pack("<I", n) + offsets.tobytes() + padding + vtable + records.tobytes())


FORMAT = Format(decode, windows, beginning=MAGIC, sensor_size=sensor_size)
