"""A real sshd on 127.0.0.1, with throw-away keys in a folder of its own; nothing of ~/.ssh is read or written."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv ONLY_THERE={folder}/there
"""


@dataclass
class SshServer:
    """A running sshd that lets the user of the tests in with `key`."""

    port: int
    key: Path
    process: subprocess.Popen[bytes]

    def variables(self, key: Path | None = None) -> dict[str, str]:
        """REMOTE_HOST and REMOTE_SSH to reach it."""
        known = self.key.with_name("known_hosts")
        options = f"-F none -o IdentitiesOnly=yes -o UserKnownHostsFile={known} -o LogLevel=ERROR -o BatchMode=yes"
        return {
            "REMOTE_HOST": f"{getpass.getuser()}@127.0.0.1",
            "REMOTE_SSH": f"ssh -p {self.port} -i {key or self.key} {options}",
        }

    @property
    def folder_there(self) -> Path:
        """What the variable ONLY_THERE is to those who log in."""
        return self.key.with_name("there")

    def cut(self) -> None:
        """Break every connection off, as a network does."""
        for pid in _children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run one whose files are in `folder`, whose name must have no blanks; skips the test where sshd cannot run."""
    for tool, there in (("sshd", SSHD), ("ssh-keygen", shutil.which("ssh-keygen")), ("rsync", shutil.which("rsync"))):
        if not there:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, empty
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "key", "wrong_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "config"], stderr=log)
    server = SshServer(port, folder / "key", process)
    try:
        _wait_until_it_answers(server, folder / "log")
        yield server
    finally:
        server.cut()
        process.terminate()
        process.wait()


def _wait_until_it_answers(server: SshServer, log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if server.process.poll() is not None:
            pytest.skip(f"sshd does not run here: {log.read_text().strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        time.sleep(0.02)
    pytest.skip("sshd does not answer")
