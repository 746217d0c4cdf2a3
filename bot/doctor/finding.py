"""One check and what it found: all is well, something should be known, or a run would not work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `said` is one sentence: what is so, and what to do where that is not well."""

    check: str
    outcome: Outcome
    said: str


def ok(check: str, said: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Outcome.OK, said)


def warning(check: str, said: str) -> Finding:
    """A run would start, and this should be known before."""
    return Finding(check, Outcome.WARNING, said)


def failed(check: str, said: str) -> Finding:
    """A run would not start, or not be able to do what it is for."""
    return Finding(check, Outcome.FAILED, said)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether any did."""
    return any(each.outcome is Outcome.FAILED for each in findings)
