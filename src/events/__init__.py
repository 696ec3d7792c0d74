"""Event recordings to binary frames: reading, denoising, framing; bit-identical to tonic."""

from src.events.denoise import denoise
from src.events.events import Events
from src.events.frames import to_frames
from src.events.reading import read_recording

__all__ = ["Events", "denoise", "read_recording", "to_frames"]
