"""Programs that the daemon starts for itself, and that end with it, however it ends.

Each is in a session of its own, so that a Ctrl-C reaches only the daemon, which ends them in order. Each holds one end
of a pipe whose other end is the daemon's: when that closes, they end by themselves.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from bot.errors import StateError

STOP_S: Final = 10.0
LONGEST_LINE: Final = 1 << 16


@dataclass
class Child:
    """A running `hedgerow` command; `ready` is the line with which it said that it serves."""

    name: str
    process: asyncio.subprocess.Process
    ready: str
    log: Path
    pipe: int
    draining: asyncio.Task[None]

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        log: Path,
        is_ready: Callable[[str], bool],
        *,
        timeout_s: float,
        secret: bytes | None = None,
    ) -> Self:
        """Start `hedgerow ARGUMENTS --parent-fd N` and wait for the line that `is_ready`; what it says goes to `log`.

        `secret` is given over a pipe as `--password-fd N`. StateError, with the child's last words, where it ends
        before or is not ready in time.
        """
        reading, writing = os.pipe()
        passed = [reading]
        command = [*arguments, "--parent-fd", str(reading)]
        if secret is not None:
            told, telling = os.pipe()
            os.write(telling, secret)
            os.close(telling)
            passed.append(told)
            command += ["--password-fd", str(told)]
        try:
            with log.open("ab") as file:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "bot",
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=file,
                    pass_fds=passed,
                    start_new_session=True,
                    limit=LONGEST_LINE,
                )
        except BaseException:
            os.close(writing)
            raise
        finally:
            for each in passed:
                os.close(each)
        ready = ""
        try:
            async with asyncio.timeout(timeout_s):
                ready = await _until(process, is_ready, log)
        except TimeoutError:
            pass
        except BaseException:
            await _end(process)
            os.close(writing)
            raise
        if not ready:
            await _end(process)
            os.close(writing)
            raise StateError(f"{name} did not start ({_last_words(log)}); see {log}")
        return cls(name, process, ready, log, writing, asyncio.ensure_future(_drain(process, log)))

    async def gone(self) -> StateError:
        """Wait for its end; what to say of it."""
        code = await self.process.wait()
        if code < 0:
            return StateError(f"{self.name} was killed (signal {-code}); what it said last is in {self.log}")
        return StateError(
            f"{self.name} ended by itself (exit code {code}: {_last_words(self.log)}); see {self.log}"
        )

    async def stop(self) -> None:
        """Ask it to end and wait; kill it where it does not."""
        await _end(self.process)
        self.draining.cancel()
        with suppress(asyncio.CancelledError):
            await self.draining
        os.close(self.pipe)


async def _until(process: asyncio.subprocess.Process, is_ready: Callable[[str], bool], log: Path) -> str:
    """The first line that is ready; empty where the program ended before."""
    assert process.stdout is not None
    with log.open("ab", buffering=0) as file:
        while line := await process.stdout.readline():
            text = line.decode("utf-8", "replace").rstrip()
            if is_ready(text):
                return text
            _note(file, line)
    await process.wait()
    return ""


async def _drain(process: asyncio.subprocess.Process, log: Path) -> None:
    assert process.stdout is not None
    with log.open("ab", buffering=0) as file:
        while line := await process.stdout.readline():
            _note(file, line)


def _note(file: IO[bytes], line: bytes) -> None:
    with suppress(OSError):  # a full disk must not stop the trading, nor hide what it ends with
        file.write(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _last_words(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_bytes()[-2000:].decode("utf-8", "replace").strip().splitlines()
        if lines:
            return lines[-1][:300]
    return "it said nothing"
