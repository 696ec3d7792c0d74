"""DiffLogic Tonic: differentiable logic gate networks on event-camera data."""
