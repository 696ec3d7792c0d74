"""DiffLogic Tonic: differentiable logic gate networks on event-camera data."""

import os

# How often a thread of libgomp's looks for the others before it sleeps; read when the library is loaded. Its own number
# is 300 times as high, so that threads of a small network mostly wait where other work takes a core.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
