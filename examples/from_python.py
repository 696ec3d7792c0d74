"""From a recording's file to a circuit in C, without a config: python -m examples.from_python."""

# %% Simulate the demo's recordings of digits, once
from pathlib import Path

import numpy as np
import torch

from src.config import DiffLogicOptions, Model
from src.events import read_recording
from src.events.datasets.demo import DEMO
from src.events.framing import Framing, frames_of
from src.events.simulation import digits
from src.export.c99 import to_c
from src.export.description import Description
from src.model import create_model

FOLDER = Path("data/DEMO")
if not digits.is_current(FOLDER, seed=0):
    digits.create(FOLDER, seed=0)
recordings = DEMO.find_recordings(FOLDER)

# %% Read a recording's events, and cut them into frames of 800 events
framing = Framing(mode="event_count", size=800, overlap=400)
events = read_recording(recordings[0].path)
print(f"{recordings[0].path}: {len(events)} events, {len(frames_of(events, DEMO.sensor_size, framing))} frames")

# %% Do so with all recordings; a frame is [2 polarities, 34 rows, 34 columns] of bits, packed into 289 bytes
frames = [frames_of(read_recording(recording.path), DEMO.sensor_size, framing) for recording in recordings]
numbers = [len(of_recording) for of_recording in frames]
x = torch.from_numpy(np.concatenate(frames))
y = torch.from_numpy(np.repeat([recording.label for recording in recordings], numbers))
test = torch.from_numpy(np.repeat([recording.is_test for recording in recordings], numbers))

# %% Train a network of logic gates
torch.manual_seed(0)
options = Model(difflogic=DiffLogicOptions(num_neurons=4000, num_layers=4, tau=10.0))
model = create_model(options, (2, 34, 34), num_classes=10)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for _ in range(3):
    train = torch.nonzero(~test).flatten()
    for batch in train[torch.randperm(len(train))].split(64):
        loss = torch.nn.functional.cross_entropy(model.forward_packed(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %% Classify test frames with the discretised network, and with its circuit
scores = model.eval().forward_packed(x[test])
print(f"{(scores.argmax(1) == y[test]).float().mean():.1%} of {int(test.sum())} test frames are right")
circuit = model.circuit().simplified()
counts = circuit(x[test].numpy())
assert np.array_equal(counts.argmax(1), scores.argmax(1).numpy())

# %% Write the circuit as C99, with a self-test of eight frames
names = Description("digits", (2, 34, 34), tuple("0123456789"))
for name, text in to_c(circuit, names, x[test][:8].numpy(), counts[:8], "test frames of the demo").items():
    Path(name).write_text(text)
print(f"{len(circuit.gates):,} gates: cc -std=c99 -O2 digits.c digits_selftest.c && ./a.out")
