"""When an agent's approval is near its end: the venue lets none last longer than 180 days."""

from typing import Final

DAY_MS: Final = 86_400_000


def days_left(valid_until_ms: int, now_ms: int) -> float:
    """Days until the approval ends; negative once it has."""
    return (valid_until_ms - now_ms) / DAY_MS


def expiry_warning(valid_until_ms: int, now_ms: int) -> str | None:
    """What to say of an agent's end from 14 days before it, more urgently from 7 and from 1; None while it is far."""
    left = days_left(valid_until_ms, now_ms)
    if left <= 0:
        return "the agent's approval has expired; rotate it with `hedgerow wallet rotate`"
    if left <= 1:
        return f"the agent's approval ends within a day, in {left * 24:.1f} hours; rotate it now with `hedgerow wallet rotate`"
    for days, urgency in ((7, "this week"), (14, "soon")):
        if left <= days:
            return f"the agent's approval ends in {left:.1f} days; rotate it {urgency} with `hedgerow wallet rotate`"
    return None
