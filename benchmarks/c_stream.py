"""The exported C that takes events: events per second on one core, time per frame, and bytes on a microcontroller.

    python benchmarks/c_stream.py [--recordings 200]

Recordings of the simulated demo; networks have random weights. NAME_stream.c evaluates one frame with a bit per gate;
its time stands beside that of NAME.c, which evaluates 64 frames together, or one in the same time. Both must give the
same counts. Rounds take turns, and their median is printed. The compiler is gcc -O2.

For a Cortex-M4, arm-none-eabi-gcc -Os compiles, and QEMU counts instructions (Debian: gcc-arm-none-eabi,
libnewlib-arm-none-eabi, qemu-system-arm).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.machine import describe_machine
from src.config import Config, Data, DiffLogicOptions, Model
from src.events.datasets.demo import DEMO
from src.events.events import Events
from src.events.framing import frame_shape
from src.events.simulation import digits
from src.export.c99 import to_c
from src.export.c_stream.design import StreamDesign, design_of
from src.export.c_stream.microcontroller import measured_size
from src.export.c_stream.source import to_stream_c
from src.export.exported import ExportedModel
from src.frame_cache.framing_options import framing_of
from src.helpers import format_table
from src.model import create_model

DATA = Data(name="DEMO", events_per_frame=800, overlap=400)
WINDOWS = Data(name="DEMO", frame_mode="time_window", time_window=20_000, overlap=0, denoise_time=0)
CASES = {
    "4 layers of 8,000 gates": (DATA, DiffLogicOptions(num_neurons=8000, num_layers=4)),
    "4 layers of 2,000 gates": (DATA, DiffLogicOptions(num_neurons=2000, num_layers=4)),
    "convolutional": (DATA, DiffLogicOptions(architecture="convolutional", num_neurons=8200, num_layers=2)),
    "windows of 20 ms, no denoising": (WINDOWS, DiffLogicOptions(num_neurons=8000, num_layers=4)),
}
MAIN = """
#define _POSIX_C_SOURCE 199309L
#include "net_stream.c"
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
struct event { uint32_t is_first, t; uint16_t x, y; uint32_t p; };
static struct event events[1 << 22];
static net_state s;
static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
#define ROUNDS 9
#define REPEAT 200
int main(void)
{
    const size_t number = fread(events, sizeof *events, sizeof events / sizeof *events, stdin);
    double times[3][ROUNDS];
    int32_t counts[CLASSES];
    for (int round = 0; round < ROUNDS; round++) {
        double begin = seconds();
        for (size_t i = 0; i < number; i++) {
            if (events[i].is_first && i) net_end(&s);
            if (events[i].is_first) net_begin(&s);
            net_push(&s, events[i].t, events[i].x, events[i].y, (uint8_t)events[i].p);
        }
        times[0][round] = (double)number / (seconds() - begin) / 1e6;
        begin = seconds();
        for (int i = 0; i < REPEAT; i++) {
            run_gates(s.bits);
            for (int c = 0; c < CLASSES; c++)
                s.counts[c] = offsets[c] + count(s.bits, starts[c], starts[c + 1]);
        }
        times[1][round] = (seconds() - begin) / REPEAT * 1e6;
        begin = seconds();
        for (int i = 0; i < REPEAT; i++)
            net_classify((const uint8_t *)s.bits, counts);
        times[2][round] = (seconds() - begin) / REPEAT * 1e6;
        if (memcmp(counts, s.counts, sizeof counts)) return 1;
    }
    for (int i = 0; i < 3; i++) {
        qsort(times[i], ROUNDS, sizeof **times, compare);
        printf("%f ", times[i][ROUNDS / 2]);
    }
    printf("%zu %d\\n", sizeof s, NET_WORK_WORDS * 8);
    return 0;
}
"""
# SysTick counts at 25 MHz, and with -icount shift=0 an instruction takes 1 ns.
CORTEX_MAIN = """
#include "net_stream.h"
#include <stdio.h>
#define SYSTICK(number) (((volatile uint32_t *)0xE000E010)[number])
static const struct { uint32_t t; uint16_t x, y, p; } events[] = {EVENTS};
static net_state s;
int main(void)
{
    uint32_t before, ticks_of_events = 0, number = 0;
    SYSTICK(1) = 0xffffff;
    SYSTICK(0) = 5;
    net_begin(&s);
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
        before = SYSTICK(2);
        const int label = net_push(&s, events[i].t, events[i].x, events[i].y, (uint8_t)events[i].p);
        const uint32_t ticks = (before - SYSTICK(2)) & 0xffffff;
        if (label >= 0) {
            printf("%lu %lu\\n", (unsigned long)(ticks_of_events * 40 / number), (unsigned long)ticks * 40);
            return 0;
        }
        ticks_of_events += ticks;
        number++;
    }
    return 1;
}
"""
VECTORS = '.syntax unified\n.thumb\n.section .vectors,"a"\n.word 0x20400000\n.word _start\n'
PLACES = {".vectors": 0, ".init": 0x400, ".text": 0x800, ".data": 0x20000000}
EVENT = np.dtype([("is_first", "<u4"), ("t", "<u4"), ("x", "<u2"), ("y", "<u2"), ("p", "<u4")])


def design(data: Data, options: DiffLogicOptions) -> tuple[ExportedModel, StreamDesign]:
    """Return a network with random weights, and its design."""
    config = Config(data=data, model=Model(difflogic=options))
    torch.manual_seed(0)
    model = create_model(config.model, frame_shape(framing_of(data), DEMO.sensor_size), 10).eval()
    exported = ExportedModel(model, config, DEMO.classes, 0, "net", DEMO.sensor_size)
    return exported, design_of(exported)


def packed(recordings: list[Events]) -> bytes:
    """Return the events of recordings as the program reads them."""
    every = np.zeros(sum(map(len, recordings)), EVENT)
    every["is_first"][np.cumsum([0, *map(len, recordings)])[:-1]] = 1
    for name in "xytp":
        every[name] = np.concatenate([getattr(events, name) for events in recordings])
    return every.tobytes()


def instructions(folder: Path, events: Events) -> list[str]:
    """Return the instructions of a Cortex-M4 per event and per frame, as QEMU counts them; "-" if it is not there."""
    numbers = (f"{{{t},{x},{y},{p}}}" for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True))
    (folder / "cortex.c").write_text(CORTEX_MAIN.replace("EVENTS", ",".join(numbers)))
    (folder / "vectors.s").write_text(VECTORS)
    places = [f"-Wl,--section-start={section}={place:#x}" for section, place in PLACES.items()]
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-std=c99", "--specs=rdimon.specs", *places]
    sources = ["cortex.c", "net_stream.c", "vectors.s"]
    machine = ["-M", "mps2-an386", "-nographic", "-semihosting", "-icount", "shift=0", "-kernel", "cortex"]
    try:
        subprocess.run(["arm-none-eabi-gcc", *flags, *sources, "-o", "cortex"], cwd=folder, check=True)
        done = subprocess.run(["qemu-system-arm", *machine], cwd=folder, capture_output=True, check=True, timeout=60)
    except FileNotFoundError:
        return ["-", "-"]
    return [f"{int(number):,}" for number in done.stdout.split()]


def measured(exported: ExportedModel, made: StreamDesign, recordings: list[Events]) -> list[str]:
    """Return the columns of a network's row."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        none = np.zeros((1, 1), np.uint8), np.zeros((1, 10), np.int32)
        stream = to_stream_c(made)
        for name, content in {**stream, **to_c(made.circuit, exported.description, *none, "")}.items():
            (folder / name).write_text(content)
        (folder / "main.c").write_text(MAIN)
        subprocess.run(["gcc", "-std=c99", "-O2", "main.c", "net.c", "-o", "main"], cwd=folder, check=True)
        done = subprocess.run(["./main"], cwd=folder, input=packed(recordings), capture_output=True, check=True)
        of_cortex = instructions(folder, recordings[0])
    rate, alone, of_64, state, work = map(float, done.stdout.split())
    size = measured_size("net", stream) or {}
    flash, ram = (f"{size[name]:,}" if name in size else "-" for name in ("flash", "ram"))
    gates = f"{len(made.circuit.gates):,}"
    times = [f"{rate:.1f}", f"{alone:.1f}", f"{of_64:.1f}"]
    return [gates, *times, f"{state:,.0f}", f"{work:,.0f}", flash, ram, *of_cortex]


def main() -> None:
    """Print a row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "DEMO"
        digits.create(folder, seed=0)
        files = DEMO.find_recordings(folder)
        chosen = np.linspace(0, len(files) - 1, arguments.recordings).astype(int)
        recordings = [DEMO.read(files[number].path) for number in chosen]
    print(f"$ {' '.join(['python', *sys.argv])}\n{describe_machine()}")
    print(f"{len(recordings)} recordings of the demo, {sum(map(len, recordings)):,} events\n")
    rows = [[name, *measured(*design(*case), recordings)] for name, case in CASES.items()]
    head = ["", "gates", "million events/s", "us per frame", "of NAME.c", "bytes of state", "of NAME.c's memory"]
    print(format_table([*head, "Cortex-M4: flash", "RAM", "instructions per event", "per frame"], rows))


if __name__ == "__main__":
    main()
