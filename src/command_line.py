"""What every command shares: errors for users, exit codes, arguments, streams, signals, and `run_command`."""

import argparse
import contextlib
import ctypes
import difflib
import errno
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from src.helpers import LAUNCHER, LOG, launched_rank, one_line, set_up_logging

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 75
EXIT_INTERRUPTED = 130
AT_LEAVING: list[Callable[[], object]] = []  # what `leave` calls, since it does not run what atexit has


class UserError(Exception):
    """What the user gave (config, data, arguments) is wrong; its text says what, and what to do."""


class RunError(Exception):
    """What was given is right, but it cannot be done here or now; the text says why, and what to do."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """A signal asked the program to end; whatever had to be saved is saved."""


class EndedElsewhere(Exception):  # noqa: N818 - the error is another process's
    """Another process of several on one job has ended, and said why; this one ends with the same exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _LastingStream:
    """A text stream whose writes never raise: a full disk or a reader that is gone must not end a run.

    Attributes:
        error: why the last write or flush failed; None if none has.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Write the text if that is possible."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secure_streams() -> None:
    """Have standard streams that are open and never raise, in this process and those that it starts.

    A stream that the caller has closed becomes /dev/null, before another file can get its number. What the encoding of
    the terminal lacks is written as an escape.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
            os.set_inheritable(number, True)
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
        if mode == "w" and not isinstance(stream, _LastingStream):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
            stream = _LastingStream(stream)
        setattr(sys, name, stream)


def print_result(text: str) -> bool:
    """Print what a command has found out; False, after a warning that says why, if it could not be written.

    A reader that has read enough (`| head`) is no failure.
    """
    print(text, flush=True)
    error = getattr(sys.stdout, "error", None)
    if error is None or isinstance(error, BrokenPipeError):
        return True
    LOG.warning("cannot write to standard output: %s", error)
    return False


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of a command's examples, and gives options' names room beside their explanation."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class CommandLine(argparse.ArgumentParser):
    """A parser whose errors are one line, and which takes no option by half of its name.

    Args:
        prog: the name that errors begin with.
        description: the command's purpose; what follows "Examples:" is shown below the options.
        usage: what `--help` shows after "usage:"; None: what argparse makes of the arguments.
    """

    def __init__(self, prog: str, description: str | None, usage: str | None = None) -> None:
        secure_streams()  # every command begins here
        purpose, _, examples = (description or "").partition("\n\nExamples:\n")
        super().__init__(
            prog=prog,
            usage=usage,
            description=purpose,
            epilog=f"examples:\n{examples}".rstrip() if examples else None,
            formatter_class=_HelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.add_argument("-h", "--help", action="help", help="print this and exit")
        self.also_takes: list[str] = []  # words that a wrapper hands on as options
        self._positionals.title = "arguments"
        self._optionals.title = "general"

    def format_help(self) -> str:
        """Return the help, the command's own options before those of every command."""
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def parse(self, words: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse a command line; options may stand between the words of an argument that takes several."""
        takes_several = any(action.nargs in ("*", "+") for action in self._actions if not action.option_strings)
        return self.parse_intermixed_args(words) if takes_several else self.parse_args(words)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; refuse `--option=--`, of which argparse makes an empty list."""
        found, others = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if action.nargs is None and (value == [] != action.default or (isinstance(value, list) and [] in value)):
                self.error(f"argument {'/'.join(action.option_strings) or action.dest}: expected one argument")
        is_value = bool(others) and not others[0].startswith("-")
        for text in (getattr(found, "override", None) or []) if is_value else []:
            key = text.rstrip("=")
            if key and not set("= ") & set(key):
                self.error(f'argument --override: {text}: no blank between key and value: --override "{key}=VALUE"')
        return found, others

    def error(self, message: str) -> NoReturn:
        """End with the line and exit code 2."""
        if message.startswith("unrecognized arguments"):
            message += self._hint(message.partition(": ")[2].split())
        self.exit(EXIT_USER_ERROR, f"{self.prog}: error: {message} (see --help)\n")

    def _hint(self, words: list[str]) -> str:
        for word in words:
            option = word.partition("=")[0]
            near = difflib.get_close_matches(option, self._option_string_actions, n=1, cutoff=0.7)
            if near and option.startswith("-"):
                return f"; did you mean {near[0]}?"
        if any("=" in word or word.endswith("]") for word in words):
            return '; all overrides stand in one pair of quotes: --override "KEY=VALUE KEY=VALUE"'
        if any(word.startswith("-") for word in words):
            return ""
        names = [str(action.metavar or action.dest) for action in self._actions if not action.option_strings]
        names += self.also_takes
        return f"; it takes one {' and one '.join(names)}" if names else "; it takes options only"


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class StopSignals:
    """Turns SIGTERM, SIGINT, SIGUSR1 and SIGHUP into a flag that long loops look at.

    The handler only notes the signal: saving inside a handler can meet a half-done step. A second signal changes
    nothing. A SIGHUP that is ignored at the start, as by nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.received_at = 0.0  # time.monotonic()

    def install(self) -> "StopSignals":
        """Take over the signals and return self."""
        handle_stop_signals(self.note)
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, STOP_SIGNALS
        )  # distributed/launch.py starts processes with them blocked
        return self

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Note that a signal has come, here or to another process of the job."""
        if self.received is None:
            self.received, self.received_at = signal.Signals(number), time.monotonic()

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.received is not None:
            raise Stopped(f"received {self.received.name}")

    @property
    def exit_code(self) -> int:
        """Return 75, preempted, or 130 after SIGINT."""
        return EXIT_INTERRUPTED if self.received == signal.SIGINT else EXIT_PREEMPTED


def handle_stop_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have the handler called at each stop signal, but for a SIGHUP that is ignored: nohup started the command."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Start processes in this block: the stop signals wait until they say what is to be done with them.

    Of multiprocessing, its resource tracker must be running: as it starts, it unblocks signals.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the process at once in this block, which may wait for another process for ever."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stop_signals() -> None:
    """Leave the stop signals to the main process: a signal to the whole group must not kill its workers first."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of sys/prctl.h


def end_with_launcher() -> None:
    """Have this process of several get SIGTERM when its launcher dies, on Linux; end at once if that is gone already.

    It runs in a session of its own, and would go on for ever. Called before the slow imports.
    """
    if launched_rank() is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid()):
        sys.exit(EXIT_PREEMPTED)


def run_command(command: Callable[[StopSignals], int], debug: bool) -> int:
    """Run an entry point: set up logging and signals, turn its exceptions into one line and an exit code.

    With `debug`, exceptions that are the program's or the user's fault keep their traceback.
    """
    secure_streams()
    set_up_logging(debug)
    stop = StopSignals().install()
    try:
        return command(stop)
    except Stopped as error:
        LOG.warning("%s: stopped cleanly", error)
        return stop.exit_code
    except EndedElsewhere as error:
        LOG.debug("%s", error)
        return error.exit_code
    except UserError as error:
        *lines, last = str(error).split("\n")
        for line in lines:  # a mistake each
            LOG.error("%s", line)
        LOG.error("%s", last, exc_info=debug)
        return EXIT_USER_ERROR
    except RunError as error:
        LOG.error("%s", error, exc_info=debug)
        return EXIT_FAILED
    except MemoryError as error:
        LOG.error("out of memory%s", f": {one_line(error)}" if str(error) else "", exc_info=debug)
        return EXIT_FAILED
    except OSError as error:
        line, code = _file_error(error)
        LOG.error("%s", line, exc_info=debug)
        return code
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        LOG.error("%s%s", reason, "" if debug else " (run with --debug for the traceback)", exc_info=debug)
        return EXIT_FAILED


def run_command_line(
    prog: str,
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    command: Callable[[argparse.Namespace, StopSignals], int],
    words: Sequence[str] | None = None,
) -> int:
    """Read a command line, run what it asks for, and return the exit code: all that an entry point does.

    Args:
        prog: the name that usage and errors begin with.
        description: what the command does, and examples; the docstring of its module.
        add_arguments: adds the command's own arguments; every command has `--debug`.
        command: does the work. It imports what is slow itself, after it has found the user's mistakes.
        words: the arguments; None: those of this process.
    """
    arguments = read_command_line(prog, description, add_arguments, words)
    return run_command(lambda stop: command(arguments, stop), arguments.debug)


def read_command_line(
    prog: str,
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    words: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Return the arguments of a command line, as in `run_command_line`; a mistake ends the process with exit code 2."""
    parser = CommandLine(prog, description)
    add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="debug logging, tracebacks")
    return parser.parse(words)


@contextlib.contextmanager
def writing_to(where: Path, remedy: str = "see PROJECT_STORAGE_DIR") -> Iterator[None]:
    """Turn an OSError of this block, which writes files to `where`, into a UserError with the file and a remedy."""
    try:
        yield
    except OSError as error:
        path = error.filename2 or error.filename or where
        raise UserError(f"{path}: cannot write there: {error.strerror or one_line(error)}; {remedy}") from error


# What a path that the user gave, or who may use what lies there, makes the system say.
_USERS_ERRNOS = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_MOST_SHOWN = 300  # characters of a path


def _file_error(error: OSError) -> tuple[str, int]:
    """Return a line that says which file could not be used, and why, and the exit code."""
    if error.filename is None and error.errno == errno.ENOENT:
        return "the current folder does not exist any more; change to another one", EXIT_USER_ERROR
    path = str(error.filename2 or error.filename or type(error).__name__)
    path = path if len(path) <= _MOST_SHOWN else f"{path[:_MOST_SHOWN]}…"
    code = EXIT_USER_ERROR if error.errno in _USERS_ERRNOS else EXIT_FAILED
    return f"{path}: {error.strerror or one_line(error)}", code


def leave(code: int) -> NoReturn:
    """End the process at once, with what it has printed and logged.

    PyTorch would take a second of CPU time to unload, and where another process of the job is gone, wait for its GPU.
    """
    for call in AT_LEAVING:
        call()
    logging.shutdown()
    with contextlib.suppress(OSError):  # nobody may read it any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
