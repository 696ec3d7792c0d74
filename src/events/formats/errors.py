"""What makes a recording unusable, and the checks that all formats share."""


class CorruptRecordingError(Exception):
    """A recording cannot be used; its text says why."""


class ForeignRecordingError(CorruptRecordingError):
    """A recording that may well be sound, but is in no known format or of another sensor."""


_POINTERS = {b"version https://git-lfs.github.com/spec/": "git lfs pull", b"/annex/objects/": "git annex get"}


def refuse_pointer(content: bytes) -> None:
    """Raise ForeignRecordingError for a file that only says where a recording is."""
    for beginning, command in _POINTERS.items():
        if content.startswith(beginning):
            raise ForeignRecordingError(f"it is only a pointer to the recording, which {command} brings")


def check_outside(num_outside: int, num_events: int, sensor: str) -> None:
    """Raise ForeignRecordingError if so many of a recording's events lie outside the sensor that it is another's.

    A few are noise of the camera or of the disk: one, or 1 % of the events.
    """
    if num_outside > max(1, num_events // 100) or 2 * num_outside >= num_events:
        raise ForeignRecordingError(
            f"{num_outside:,} of its {num_events:,} events lie outside the sensor ({sensor}): it is another sensor's, "
            "or damaged"
        )
