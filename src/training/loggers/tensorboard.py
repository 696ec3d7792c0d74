"""TensorBoard: an event file per job."""

from pathlib import Path
from typing import ClassVar

from src.config import Config
from src.training.loggers.logger import Logger


class TensorBoard(Logger):
    """An event file in logs/<job_id>/tensorboard."""

    name: ClassVar = "TensorBoard"
    option: ClassVar = "train.tensorboard"
    module: ClassVar = "torch.utils.tensorboard"
    package: ClassVar = "tensorboard"

    @staticmethod
    def is_asked_for(config: Config) -> bool:
        """Return whether train.tensorboard is set."""
        return config.train.tensorboard

    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """Begin a new file; `folder` is logs/<job_id>, and nothing depends on the other arguments."""
        from torch.utils.tensorboard import SummaryWriter

        folder = folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        # A TensorBoard that is open then forgets what it has read from the old files.
        self.writer = SummaryWriter(str(folder), purge_step=0)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, after `step` batches."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self.writer.close()
