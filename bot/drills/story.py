"""What a drill does and sees, in words, and what is judged by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.errors import HedgerowError


class NotSeen(HedgerowError):
    """What a drill waited for did not come: it has failed, and this says by what."""


class NotHere(HedgerowError):
    """The drill can't be done on this machine, and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line. `problems` are of a check: none if it holds."""

    kind: Literal["does", "saw", "check"]
    text: str
    problems: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """False for a check that does not hold."""
        return not self.problems

    def told(self) -> str:
        """The line as people read it."""
        if self.kind != "check":
            return f"{'→' if self.kind == 'does' else ' '} {self.text}"
        if self.is_right:
            return f"✓ {self.text}"
        return f"✗ {self.text}: {'; '.join(self.problems)}"


@dataclass(slots=True)
class Story:
    """Steps in their order; `tell` hears each at once."""

    tell: Callable[[Step], None] = lambda _: None
    steps: list[Step] = field(default_factory=list)

    def does(self, text: str) -> None:
        """Say what is done next."""
        self._add(Step("does", text))

    def saw(self, text: str) -> None:
        """Say what was seen."""
        self._add(Step("saw", text))

    def check(self, text: str, problems: Sequence[str]) -> None:
        """Judge: `text` holds if there are no problems."""
        self._add(Step("check", text, tuple(problems)))

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.tell(step)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a drill came out. PASS: every check holds, and there was one. NOT DONE: it can't be done here."""

    result: Literal["PASS", "FAIL", "NOT DONE"]
    reason: str

    @classmethod
    def of(cls, story: Story, error: HedgerowError | None = None) -> Verdict:
        """From what was judged, and from the `error` that ended the drill."""
        if isinstance(error, NotHere):
            return cls("NOT DONE", str(error))
        if error is not None:
            return cls("FAIL", str(error))
        checks = [step for step in story.steps if step.kind == "check"]
        wrong = [step for step in checks if not step.is_right]
        if not checks:
            return cls("FAIL", "nothing was judged")
        if wrong:
            return cls("FAIL", "; ".join(f"not so: {step.text} ({step.problems[0]})" for step in wrong))
        return cls("PASS", f"all {len(checks)} checks hold")


def facts(name: str, story: Story, verdict: Verdict) -> dict[str, Any]:
    """As JSON values."""
    return {
        "drill": name,
        "result": verdict.result,
        "reason": verdict.reason,
        "steps": [
            {"kind": step.kind, "text": step.text, "problems": list(step.problems)} for step in story.steps
        ],
    }
