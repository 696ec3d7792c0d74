"""Members of zip archives: their bytes are those that zipfile reads, and damage is found."""

import io
import zipfile

import numpy as np
import pytest

from src.events.formats.array_file import ArrayFile
from src.events.formats.zip_member import ZipMember

BYTES = np.random.default_rng(0).integers(0, 9, 300_000).astype(np.uint8).tobytes()
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class Pipe(io.BytesIO):
    """A file without positions, into which zipfile writes sizes behind the members."""

    def seekable(self):
        return False

    def tell(self):
        raise OSError


def archive(method, target=None, is_large=False):
    target = target or io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as file, file.open("a", "w", force_zip64=is_large) as member:
        member.write(BYTES)
    return target.getvalue()


def read(content, step):
    raw = np.frombuffer(content, np.uint8)
    with zipfile.ZipFile(ArrayFile(raw)) as file:
        member = ZipMember(file, file.getinfo("a"), raw)
        parts = []
        while member.num_left:
            parts.append(member.read(step))
        assert member.tell() == len(BYTES)
        assert member.read(1) == b""
    return b"".join(parts)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("step", [7000, 1 << 30])
def test_the_bytes_of_every_kind_of_member_are_read(method, step):
    for content in (archive(method), archive(method, Pipe()), archive(method, is_large=True)):
        assert read(content, step) == BYTES


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_damaged_byte_is_found(method):
    content = bytearray(archive(method))
    content[len(content) // 2] ^= 1
    with pytest.raises(Exception, match=r"Bad CRC-32 for file 'a'|Error -3|too early"):
        read(bytes(content), 7000)


def test_a_member_that_ends_before_its_size_is_damaged():
    content = bytearray(archive(DEFLATED))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (len(BYTES) + 1).to_bytes(4, "little")
    with pytest.raises(zipfile.BadZipFile, match="a ends 1 bytes too early"):
        read(bytes(content), 1 << 30)
