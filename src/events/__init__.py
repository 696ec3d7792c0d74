"""Event recordings to binary frames: reading, denoising, framing; bit-identical to tonic."""

from src.events.denoise import denoise
from src.events.events import Events
from src.events.formats.reading import read_recording
from src.events.frames import to_frames

__all__ = ["Events", "denoise", "read_recording", "to_frames"]
