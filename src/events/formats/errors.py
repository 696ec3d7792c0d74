"""What makes a recording unusable, and the checks that all formats share."""


class CorruptRecordingError(Exception):
    """A recording cannot be used; the text says why."""


class ForeignRecordingError(CorruptRecordingError):
    """A recording may be sound, but its format is unknown or it is another sensor's."""


class OtherSensorError(ForeignRecordingError):
    """Too many of a recording's events lie outside the sensor."""


class EmptyPartError(CorruptRecordingError):
    """A recording is a part of a file, and the file has no events there."""


_POINTERS = {b"version https://git-lfs.github.com/spec/": "git lfs pull", b"/annex/objects/": "git annex get"}


def refuse_pointer(content: bytes) -> None:
    """Raise ForeignRecordingError for a file of git-lfs or git-annex that only says where a recording is."""
    for beginning, command in _POINTERS.items():
        if content.startswith(beginning):
            raise ForeignRecordingError(f"it is only a pointer to the recording; `{command}` downloads the recording")


def check_outside(num_outside: int, num_events: int, sensor: str) -> None:
    """Raise OtherSensorError if too many of a recording's events lie outside the sensor to be noise.

    One event, or 1 % of them, may be noise of the camera or of the disk.
    """
    if num_outside > max(1, num_events // 100) or 2 * num_outside >= num_events:
        raise OtherSensorError(
            f"{num_outside:,} of its {num_events:,} events lie outside the sensor ({sensor}): it is another sensor's, "
            "or damaged"
        )
