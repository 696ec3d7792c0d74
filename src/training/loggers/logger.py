"""Logger: what a logger says about itself, and what it does with a run's numbers."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from src.command_line import UserError
from src.config import Config
from src.helpers import how_to_install, import_optional


class Logger(ABC):
    """Somewhere else where a run's numbers go.

    Attributes:
        name: for messages.
        option: the option that asks for it.
        module: what it imports; empty if it needs no package of its own.
        package: what pip installs it by.
    """

    name: ClassVar[str]
    option: ClassVar[str]
    module: ClassVar[str] = ""
    package: ClassVar[str] = ""

    @staticmethod
    @abstractmethod
    def is_asked_for(config: Config) -> bool:
        """Return whether a config asks for this logger."""

    @classmethod
    def require_package(cls, config: Config) -> None:
        """Raise UserError if the logger's package cannot be imported."""
        if not cls.module:
            return
        remedy = f"install it with {how_to_install(cls.package)}, or leave the option out"
        try:
            import_optional(cls.module, f"{cls.option} asks for {cls.name}", remedy)
        except ImportError as error:
            raise UserError(str(error)) from error

    @abstractmethod
    def __init__(self, config: Config, folder: Path, resume: bool) -> None:
        """Begin to log, and replace what earlier processes of the job left on this disk.

        Args:
            config: the run's.
            folder: logs/<job_id>.
            resume: whether the run goes on from a checkpoint.
        """

    @abstractmethod
    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values by their tags, such as val/frame_accuracy, after `step` batches."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Write or send what is left; `failed` says whether an error ends the run."""
