"""What a person should move between wallets before a rule has to shrink a spread: from where, to where, and how much.

Prices that move as far as in the stress leave one wallet of a spread with less margin and another with more, and nothing
flows between them by itself. What is looked at is what the rules `free_margin` and `liquidation_distance` would do: now,
and once all prices of a wallet have moved by `stress_move` either way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.model.instrument import Kind
from bot.pipeline.fitting import SLACK
from bot.pipeline.joint import Book, Held, equity_needed_usd
from bot.pipeline.mandate import Limits

LEAST_USD = 10.0
"""Less is not worth a person's while."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move `usd` from one wallet to another. `needed_usd` is more where no single other one has enough."""

    source: str
    target: str
    usd: float
    needed_usd: float
    because: str


def transfers(
    book: Book, leverage: Mapping[str, float], limits: Limits, standing: Collection[str] = ()
) -> list[Transfer]:
    """What is to be moved, by the wallet that needs it. One of those in `standing` does so until it is wholly well again.

    `leverage` is that of each position, by instrument. A wallet that nothing can help has no transfer.
    """
    found, room = [], {name: _room_usd(book, name, leverage, limits) for name in book.wallets}
    for name, equity in book.wallets.items():
        own = _on_margin(book, name)
        if not own:
            continue
        needed, because = _needed_usd(own, equity, leverage, limits), _pressing(own, equity, leverage, limits)
        if not because and not (name in standing and needed > 0):
            continue
        source = max((each for each in room if each != name), key=lambda each: room[each], default=None)
        if source is None or room[source] < LEAST_USD:
            continue
        usd = min(max(needed, LEAST_USD), room[source])
        found.append(
            Transfer(
                source,
                name,
                usd,
                needed,
                because or "its margin is not yet as far from a limit as it should be",
            )
        )
    return found


def _on_margin(book: Book, wallet: str) -> tuple[Held, ...]:
    return tuple(each for each in book.of(wallet) if each.instrument.kind is Kind.PERP)


def _needed_usd(own: Sequence[Held], equity: float, leverage: Mapping[str, float], limits: Limits) -> float:
    """What a wallet lacks so that no rule would cut it, now or in the stress; what it has to spare below 0."""
    lacking = []
    for move in (0.0, limits.stress_move, -limits.stress_move):
        moved, left = _moved(own, equity, move)
        margin = _margin_usd(moved, leverage) / (1 - limits.min_free_margin)
        lacking.append(max(margin, equity_needed_usd(moved, limits.min_liquidation_distance)) - left)
    return max(lacking)


def _pressing(own: Sequence[Held], equity: float, leverage: Mapping[str, float], limits: Limits) -> str:
    """Why money is to be moved; empty where it need not be."""
    used = 1 - limits.min_free_margin
    if _margin_usd(own, leverage) > used * equity:
        return f"less than {limits.min_free_margin:.0%} of its equity is free"
    for move in (0.0, limits.stress_move, -limits.stress_move):
        moved, left = _moved(own, equity, move)
        when = f"if prices move {move:+.0%}" if move else "now"
        if _margin_usd(moved, leverage) > SLACK * used * left:
            return f"{when} its initial margin would have positions cut"
        if equity_needed_usd(moved, limits.min_liquidation_distance / SLACK) > left:
            return f"{when} a liquidation would be near enough to have positions cut"
    return ""


def _room_usd(book: Book, wallet: str, leverage: Mapping[str, float], limits: Limits) -> float:
    """What can be taken out of a wallet; coins can't."""
    own, equity = _on_margin(book, wallet), book.wallets[wallet]
    coins = sum(each.usd for each in book.of(wallet) if each.instrument.kind is Kind.SPOT)
    return max(0.0, -_needed_usd(own, equity - coins, leverage, limits) if own else equity - coins)


def _moved(own: Sequence[Held], equity: float, move: float) -> tuple[tuple[Held, ...], float]:
    after = tuple(Held(each.instrument, each.size, each.entry, each.mark * (1 + move)) for each in own)
    return after, equity + move * sum(each.usd for each in own)


def _margin_usd(own: Sequence[Held], leverage: Mapping[str, float]) -> float:
    return sum(abs(each.usd) / leverage[each.instrument.name] for each in own)
