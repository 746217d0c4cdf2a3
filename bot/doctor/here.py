"""What this computer has: Python, packages, SQLite, room and rights in folders, the journal, the clock."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from bot.clock import utc
from bot.doctor.finding import Finding, failed, ok, warning
from bot.errors import StateError
from bot.journal import file as journal_file
from bot.journal.reader import read
from bot.settings import Settings

OLDEST_PYTHON: Final = (3, 11)
EARLIEST_MS: Final = 1_767_225_600_000  # 2026-01-01: this program is younger
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*([^;]*)(?:;\s*extra\s*==\s*[\"'](\w+)[\"'])?$")
_BOUND: Final = re.compile(r"(>=|<)\s*([0-9.]+)")


def python_and_packages(settings: Settings) -> Iterator[Finding]:
    """Whether Python and what the config needs beside it are new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        yield failed("python", f"this is Python {found} and {oldest} is needed; install a newer one")
    else:
        yield ok("python", f"Python {found}; {oldest} is the oldest that will do")
    extras = extras_of(settings)
    try:
        lines = requires("hedgerow") or []
    except PackageNotFoundError:
        yield warning(
            "packages", "hedgerow is not installed, so what it needs is not known; run `pip install -e .`"
        )
        return
    wrong = list(unmet(lines, extras))
    named = f"hedgerow[{','.join(extras)}]" if extras else "hedgerow"
    if wrong:
        yield failed("packages", f"{', '.join(wrong)}; run `pip install '{named}'`")
    else:
        yield ok("packages", f"what {named} needs is here")


def extras_of(settings: Settings) -> tuple[str, ...]:
    """Names of the groups of optional packages that the config needs."""
    if settings.mode == "backtest":
        return ()
    return ("hyperliquid", "cex") if settings.cex else ("hyperliquid",)


def unmet(lines: Sequence[str], extras: Sequence[str]) -> Iterator[str]:
    """What in a package's requirements is absent or of a wrong version, in words."""
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None or (match[3] is not None and match[3] not in extras):
            continue
        name, bounds = match[1], match[2].strip()
        try:
            found = version(name)
        except PackageNotFoundError:
            yield f"{name} is not installed ({bounds or 'any version'} is needed)"
            continue
        for sign, bound in _BOUND.findall(bounds):
            if (release(found) >= release(bound)) is not (sign == ">="):
                yield f"{name} is {found} and {bounds} is needed"
                break


def release(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, without zeros at the end: 4.5.90.post1 → (4, 5, 90)."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = re.match(r"[0-9]+", part)
        if digits is None:
            break
        numbers.append(int(digits[0]))
        if digits[0] != part:
            break
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def disk_and_journal(settings: Settings, now_ms: int) -> Iterator[Finding]:
    """Whether the journal and the log can be written, and whose the journal is. A backtest writes neither."""
    if settings.mode == "backtest":
        return
    if sqlite3.sqlite_version_info < journal_file.OLDEST_SQLITE:
        oldest = ".".join(map(str, journal_file.OLDEST_SQLITE))
        yield failed(
            "sqlite",
            f"this Python has SQLite {sqlite3.sqlite_version}, and the journal needs {oldest}; use a newer Python",
        )
    else:
        yield ok("sqlite", f"SQLite {sqlite3.sqlite_version}")
    least_mb = settings.watchdog.min_free_disk_mb
    yield _folder("journal folder", settings.journal.path, least_mb)
    if settings.logs.file is not None:
        yield _folder("log folder", settings.logs.file, least_mb)
    yield _journal(settings.journal.path)
    yield _clock(settings, now_ms)


def _folder(check: str, file: Path, least_mb: float) -> Finding:
    """That of a file, or the one in which it would be made."""
    folder = file.resolve().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return failed(check, f"{folder} is not a folder; move it away or name another place for {file}")
    if not os.access(folder, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        return failed(
            check, f"{file} can't be written; give yourself permission in {folder} or name another place"
        )
    try:
        free_mb = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        return failed(check, f"{folder} can't be looked at ({error.strerror}); name another place for {file}")
    if free_mb < least_mb:
        return failed(
            check,
            f"{free_mb:,.0f} MB are free in {folder}, and below {least_mb:g} MB (watchdog.min_free_disk_mb) nothing is "
            f"opened; make room",
        )
    return ok(check, f"{file} can be written; {free_mb:,.0f} MB are free there")


def _journal(path: Path) -> Finding:
    """Whether it can be gone on from. It is read and not taken."""
    if not path.exists() or path.stat().st_size == 0:
        return ok("journal", f"there is none at {path} yet; the first run makes it")
    holder = journal_file.owner(path)
    if holder is not None:
        return failed(
            "journal",
            f"a daemon (pid {holder or 'unknown'}) is writing {path}; stop it before another one is started",
        )
    try:
        with read(path) as journal:
            last_ms = journal.last_ms
    except StateError as error:
        return failed("journal", str(error))
    last = "no cycle is in it yet" if last_ms is None else f"its last cycle is of {utc(last_ms)}"
    return ok("journal", f"{path} can be read, nobody is writing it, and {last}")


def _clock(settings: Settings, now_ms: int) -> Finding:
    """Whether the time can be right at all. How far it is off only a venue can tell."""
    if not EARLIEST_MS <= now_ms < LATEST_MS:
        return failed("clock", f"this computer's clock says {utc(now_ms)}, which can't be; set it")
    if settings.mode == "live" and not _is_simulated(settings) and settings.journal.path.exists():
        try:
            with read(settings.journal.path) as journal:
                last_ms = journal.last_ms
        except StateError:
            last_ms = None
        if last_ms is not None and last_ms > now_ms + settings.watchdog.max_clock_offset_s * 1000:
            return failed(
                "clock",
                f"this computer's clock says {utc(now_ms)}, and the journal's last cycle is of {utc(last_ms)}; set it",
            )
    return ok("clock", f"it says {utc(now_ms)}, which can be; only a venue can tell how far it is off")


def _is_simulated(settings: Settings) -> bool:
    """Whether the time of some venue is its own."""
    networks = [cex.network for cex in settings.cex.values()]
    return "devnet" in [*networks, settings.venue.network if settings.venue else ""]
