"""Fuzz the readers of recordings: any bytes give events or CorruptRecordingError, without hanging or filling memory.

    pip install atheris
    python benchmarks/fuzz_readers.py [-max_total_time=300] [any option of libFuzzer]

atheris is no dependency, since it has wheels for a few versions of Python only. The decoders run as plain Python and
NumPy (NUMBA_DISABLE_JIT), so that coverage sees their branches. An input that takes more than 10 s or 1 GiB counts as a
crash. The first byte of an input says what the rest is: a whole file, or a part of a file whose other parts are sound.
So checks behind checksums and compression are reached too.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["NUMBA_DISABLE_JIT"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import atheris

with atheris.instrument_imports(include=["src.events"]):
    from src.events import Events
    from src.events.formats import (
        aedat2,
        aedat3,
        aedat4,
        dat,
        event_stream,
        evt2,
        evt3,
        evt21,
        hdf5,
        nmnist_bin,
        npy,
        npz,
        text,
    )
    from src.events.formats.errors import CorruptRecordingError
    from src.events.formats.prophesee import parse_header
    from src.events.formats.reading import decode_recording
    from src.registry import FILE_FORMATS

import gzip

import lz4.frame
import numpy as np
import zstandard

LIMITS = ["-max_total_time=300", "-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-print_final_stats=1"]
PROPHESEE = (  # headers, each of which a part stands behind
    b"% evt 3.0\n% geometry 1280x720\n% end\n",
    b"% evt 2.0\n% geometry 1280x720\n% end\n",
    b"% evt 2.1\n% geometry 1280x720\n% end\n",
    b"% evt 2.1\n% endianness legacy\n% end\n",
    b"% Version 2\n",
)
INFO = (
    b'<dv version="2.0"><node name="outInfo"><node name="0"><attr key="typeIdentifier">EVTS</attr></node></node></dv>'
)

DAVIS = "eu.seebetter.ini.chips.davis.DAVIS240C"
AEDAT3 = aedat3.MAGIC + b"\r\n#Format: RAW\r\n#Source 1: DVS128\r\n" + aedat3.END_OF_HEADER
KINDS = 21  # of inputs


def main() -> None:
    """Fuzz until the time is up or something is found."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:], corpus], try_bytes)
        atheris.Fuzz()


def seeds() -> list[bytes]:
    """Return sound files, and sound parts of files."""
    n = np.arange(12)
    events = Events(n.astype(np.uint16), n.astype(np.uint16), 100 * n, (n % 2).astype(np.uint8))
    files = [aedat4.encode(events, (128, 128), kind, 400) for kind in (aedat4.NONE, aedat4.LZ4, aedat4.ZSTD)]
    prophesee = [evt3.encode(events), evt2.encode(events), evt21.encode(events)]
    prophesee += [evt21.encode(events, is_legacy=True), dat.encode(events), dat.encode(events, (128, 128))]
    packet = files[0][files[0].index(b"EVTS", files[0].index(b"</dv>")) - 8 :][:100]
    plain = bytes([aedat4.LZ4]) + lz4.frame.compress(packet, store_size=False)  # decompressed by the reader's kernel
    parts = [packet, packet, packet, plain, INFO, aedat2.encode(events)[len(aedat2.MAGIC) :], nmnist_bin.encode(events)]
    davis = aedat2.encode(events, DAVIS)
    parts += [davis[davis.index(b"Header\r\n") + 8 :], aedat3.encode(events, packet_events=5)[len(AEDAT3) :]]
    parts += [event_stream.encode(events, (128, 128), kind)[15:] for kind in (event_stream.DVS, event_stream.ATIS)]
    parts += [file[parse_header(file).end :] for file in prophesee[: len(PROPHESEE)]]
    files += prophesee
    lines = text.encode(events, order="xypt", separator=",", unit="us", header="x,y,p,t\r\n", line_end="\r\n")
    parts += [npy.encode(events)[len(npy.MAGIC) :], lines, lines, text.encode(events)]
    files += [hdf5.encode(events, layout, None) for layout in ("mvsec", "metavision", "v2e")]
    files += [hdf5.encode(events, "metavision", compression) for compression in ("gzip", "lzf")]
    files += [npz.encode(events), npz.encode(events, is_structured=True), gzip.compress(lines)]
    return [b"\0" + file for file in files] + [bytes([kind]) + part for kind, part in enumerate(parts, start=1)]


def file_of(kind: int, data: bytes) -> bytes:
    """Return the file that an input stands for."""
    if kind == 1:
        return file_of_packet(aedat4.NONE, data)
    if kind == 2:
        return file_of_packet(aedat4.LZ4, lz4.frame.compress(data))
    if kind == 3:
        return file_of_packet(aedat4.ZSTD, zstandard.compress(data))
    if kind == 4:
        return file_of_packet(data[0] % 5 if data else 0, data[1:])
    if kind == 5:
        return aedat4._header(aedat4.NONE, aedat4.NO_TABLE, data)
    if kind == 6:
        return aedat2.MAGIC + data
    if kind == 8:
        return aedat2.MAGIC + b"\n# AEChip: " + DAVIS.encode() + b"\n#End Of ASCII Header\n" + data
    if kind == 9:
        return AEDAT3 + data
    if kind in (10, 11):
        return event_stream.MAGIC + bytes([event_stream.VERSION, 0, 0]) + data
    if 11 < kind < 17:
        return PROPHESEE[kind - 12] + data
    if kind == 17:
        return npy.MAGIC + data
    if kind == 18:
        return b"\xef\xbb\xbf" + data
    if kind == 19:
        return gzip.compress(data)
    if kind == 20:
        return b"640 480\n" + data
    return data


def file_of_packet(compression: int, packed: bytes) -> bytes:
    """Return an AEDAT 4 file with one packet."""
    header = aedat4._header(compression, aedat4.NO_TABLE, INFO)
    return header + aedat4._PACKET.pack(0, len(packed)) + packed


def try_bytes(data: bytes) -> None:
    """Decode one input, whole and in windows; any exception but CorruptRecordingError is a finding."""
    kind, rest = (data[0] % KINDS, data[1:]) if data else (0, b"")
    content, suffix = file_of(kind, rest), ".bin" if kind < 17 else ".txt"
    try:
        events = decode_recording(content, suffix)
    except CorruptRecordingError:
        return
    assert len(events) > 0
    file_format = next(f for f in map(FILE_FORMATS.load, FILE_FORMATS) if f.knows(content, suffix))
    if file_format.windows:
        parts = list(file_format.windows(np.frombuffer(content, np.uint8), 3))
        assert sum(map(len, parts)) == len(events)
        assert max(map(len, parts)) <= 3


if __name__ == "__main__":
    main()
