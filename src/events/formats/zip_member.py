"""ZipMember: the bytes of a member of a zip archive in their order, checked, without a copy if they are not compressed.

zipfile finds the members and checks their headers. It also reads them, but several times as slowly: it copies them
through Python's files, and its checksum and decompression are those of zlib. Source: PKWARE's APPNOTE.
"""

import zipfile

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from src.events.formats.errors import ForeignRecordingError
from src.events.formats.windows import read_only

_HEADER_BYTES = 30  # of a member, before its name and extra fields, whose sizes are its last two numbers
_PIECE = 1 << 16  # compressed bytes that are unpacked at once


class ZipMember:
    """A member that is stored or deflated, read from its beginning to its end.

    Attributes:
        num_left: bytes that are still to be read, by the archive's directory.
    """

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: NDArray[np.uint8]) -> None:
        """Go to the beginning of a member of an archive with these bytes.

        Raises:
            ForeignRecordingError: if it is neither stored nor deflated.
            zipfile.BadZipFile: if it is damaged; `zipfile` has other errors too.
        """
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ForeignRecordingError(f"its array {info.filename} is neither stored nor deflated")
        archive.open(info).close()  # checks the header
        header = content[info.header_offset : info.header_offset + _HEADER_BYTES].tobytes()
        name_size, extra_size = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        begin = info.header_offset + _HEADER_BYTES + name_size + extra_size
        self._name = info.filename
        self._packed = read_only(content)[begin : begin + info.compress_size]
        self._at = 0
        is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
        self._stream = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS) if is_deflated else None
        self._checksum, self._expected = 0, info.CRC
        self._num_read = 0
        self.num_left = info.file_size
        if len(self._packed) < info.compress_size or not (is_deflated or info.file_size == info.compress_size):
            raise zipfile.BadZipFile(f"the sizes of {info.filename} do not add up")

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._num_read

    def read(self, size: int) -> bytes:
        """Return the next bytes, as `take` does."""
        return self.take(size).tobytes()

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return the next bytes, which cannot be written; fewer if the member ends before.

        Raises:
            zipfile.BadZipFile: if it is damaged. Its checksum is compared when its last byte is read.
        """
        size = min(size, self.num_left)
        found = self._next(size) if self._stream is None else self._inflated(size)
        self._checksum = isal_zlib.crc32(found, self._checksum)
        self._num_read += size
        self.num_left -= size
        if size and not self.num_left and self._checksum != self._expected:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._name!r}")
        return found

    def _next(self, size: int) -> NDArray[np.uint8]:
        """Return the next bytes as they are in the file."""
        self._at += size
        return self._packed[self._at - size : self._at]

    def _inflated(self, size: int) -> NDArray[np.uint8]:
        """Return the next bytes, decompressed."""
        assert self._stream is not None
        parts = []
        num_missing = size
        while num_missing:
            part = self._stream.decompress(self._stream.unconsumed_tail or self._next(_PIECE), num_missing)
            if not part and (self._stream.eof or self._at >= len(self._packed)):
                raise zipfile.BadZipFile(f"{self._name} ends {self.num_left - size + num_missing:,} bytes too early")
            parts.append(part)
            num_missing -= len(part)
        return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), np.uint8)
