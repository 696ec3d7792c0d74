"""The size on a microcontroller: that of its compiler, if it is installed."""

import shutil

import pytest

from src.export.c_stream import microcontroller
from src.export.c_stream.microcontroller import COMPILER, measured_size, size_text

FILES = {
    "net_stream.h": "typedef struct { int numbers[100]; } net_state;\n",
    "net_stream.c": '#include "net_stream.h"\nconst char table[1000] = {1};\nint zeros[5];\n',
}


def test_tables_are_flash_and_the_state_is_ram():
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed")
    assert measured_size("net", FILES) == {"flash": 1000, "ram": 420}


def test_without_the_compiler_there_is_no_size(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert measured_size("net", FILES) is None


def test_a_compiler_that_fails_is_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(microcontroller, "COMPILER", "false")
    assert measured_size("net", FILES) is None
    assert "no size on a Cortex-M4: false failed" in caplog.text


def test_sizes_are_told_in_kibibytes():
    assert size_text({"flash": 67602, "ram": 7528}) == (
        "Cortex-M4, of the program that takes events: 66.0 KiB of flash, 7.4 KiB of RAM"
    )
