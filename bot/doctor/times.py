"""How far this computer's clock is from a venue's."""

from __future__ import annotations

from bot.doctor.finding import Finding, failed, ok
from bot.settings import Settings


def offset(venue: str, settings: Settings, offset_ms: int, *, is_simulated: bool) -> Finding:
    """`offset_ms` is the venue's time less our own. A simulated venue has a time of its own."""
    check, most_s = f"{venue} clock", settings.watchdog.max_clock_offset_s
    if is_simulated:
        return ok(check, "the time there is simulated")
    told = f"this computer's clock is {abs(offset_ms) / 1000:.3f} s {'behind' if offset_ms > 0 else 'ahead of'} the venue's"
    if abs(offset_ms) >= most_s * 1000:
        return failed(
            check, f"{told}, and from {most_s:g} s on nothing is opened; set it, and keep it set by NTP"
        )
    return ok(check, f"{told}, of {most_s:g} s that are borne")
