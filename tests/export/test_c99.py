"""C: compilers accept it without a warning, and it computes the same counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from src.export import c99
from src.export.c99 import to_c
from src.logic import LogicLayer
from src.models.to_circuit import circuit_of_layers
from tests.circuit.test_circuit import circuits, oracle, pack, some_bits
from tests.export.exports import C_FLAGS, COMPILERS, described, need, run, self_test, trained, write


@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_counts_what_the_circuit_counts(tmp_path, compiler):
    need(compiler)
    circuit, frames, counts = trained()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert self_test(folder, compiler) == "net: 130 of 130 frames have the expected counts\n"


def test_c_of_a_large_circuit_takes_no_large_stack(tmp_path):
    need("gcc")
    torch.manual_seed(0)
    circuit = circuit_of_layers([LogicLayer(150, 20_000)], 10, tau=3.0).simplified()
    assert circuit.packed.schedule.num_rows > c99.MOST_ROWS_ON_STACK
    bits = some_bits(circuit, 70)
    counts = oracle(circuit, bits).astype(np.int32)
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), pack(bits), counts, "random frames"))
    run(folder, "gcc", *C_FLAGS, "-Wframe-larger-than=4096", "net.c", "net_selftest.c", "-o", "test")
    assert "70 of 70" in run(folder, "./test")
    assert "not reentrant: threads call net_classify_frames_in" in " ".join((folder / "net.h").read_text().split())


THREADS = """
#include "net.h"
#include <pthread.h>
#include <string.h>
static const uint8_t frames[130][NET_FRAME_BYTES] = {ROWS};
static int32_t alone[130][NET_CLASSES], counts[4][130][NET_CLASSES];
static void *work(void *counts)
{
    uint64_t buffer[NET_WORK_WORDS];
    for (int i = 0; i < 200; i++)
        net_classify_frames_in(frames[0], 130, counts, buffer);
    return 0;
}
int main(void)
{
    pthread_t threads[4];
    net_classify_frames(frames[0], 130, alone[0]);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, counts[i][0]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    for (int i = 0; i < 4; i++) if (memcmp(alone, counts[i], sizeof alone)) return 1;
    return 0;
}
"""


def test_c_with_a_buffer_of_each_thread_is_reentrant(tmp_path, monkeypatch):
    need("gcc")
    monkeypatch.setattr(c99, "MOST_ROWS_ON_STACK", 0)
    circuit, frames, counts = trained()
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "130 of 130" in self_test(folder)
    rows = ",".join("{" + ",".join(map(str, frame)) + "}" for frame in frames.tolist())
    (folder / "threads.c").write_text(THREADS.replace("ROWS", rows))
    run(folder, "gcc", *C_FLAGS, "-pthread", "threads.c", "net.c", "-o", "threads")
    run(folder, "./threads")


@settings(max_examples=8, deadline=None)
@given(circuit=circuits())
def test_c_of_any_circuit(tmp_path_factory, circuit):
    need("gcc")
    bits = some_bits(circuit, 65)
    files = to_c(circuit, described(circuit), pack(bits), oracle(circuit, bits).astype(np.int32), "random frames")
    assert "65 of 65" in self_test(write(tmp_path_factory.getbasetemp() / "any_c", files))


def test_the_c_self_test_notices_a_wrong_count(tmp_path):
    need("gcc")
    circuit, frames, counts = trained()
    counts[3, 9] += 1
    folder = write(tmp_path / "c", to_c(circuit, described(circuit), frames, counts, "random frames"))
    assert "129 of 130" in self_test(folder, expect=1)
