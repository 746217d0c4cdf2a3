"""`hedgerow signer run` as a process of its own."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PASSWORD = "correct horse battery"
HEDGEROW = (sys.executable, "-c", "import sys; from bot.cli import main; main(sys.argv[1:])")


def pipe_of(text: str) -> int:
    """A file descriptor from which a program reads this text and then the end."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    return read


class Running:
    """A started signer and the folder it works in."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        policy: Path | None = None,
        password: str = PASSWORD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.socket = folder, folder / "run" / "sign.sock"
        stored = next((folder / "keys").glob("*.json"))
        read = pipe_of(password)
        command = [*HEDGEROW, "signer", "run", str(policy or folder / "policy.toml")]
        command += ["--keystore", str(stored), "--state", str(folder / "state"), "--socket", str(self.socket)]
        command += [] if {"--password-env", "--keyring"} & {*options} else ["--password-fd", str(read)]
        self.process = subprocess.Popen(
            [*command, *options],
            pass_fds=(read,),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=None if environment is None else {**os.environ, **environment},
        )
        os.close(read)
        self.output = self._unread = ""

    def until(self, word: str) -> None:
        """Read its output until a line with the word."""
        assert self.process.stdout is not None
        descriptor = (
            self.process.stdout.fileno()
        )  # read itself: what a file object has buffered, select can't see
        while True:
            line, ending, rest = self._unread.partition("\n")
            if ending:
                self._unread = rest
                self.output += line + ending
                if word in line:
                    return
                continue
            ready, _, _ = select.select([descriptor], [], [], 30)
            piece = os.read(descriptor, 1 << 16).decode() if ready else ""
            self._unread += piece
            assert piece, self.output

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and read the rest."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        self.output += self._unread + rest
        self._unread = ""
        return self.process.returncode
