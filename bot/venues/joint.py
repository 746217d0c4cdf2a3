"""Several venues as one: their instruments side by side, one look at all of them, each order to where it belongs.

What each states is added up, but money does not flow between them: the equity of each wallet is told apart. A venue that
can't be reached after an order elsewhere is counted as it was last seen, and named; no decision is made on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np

from bot.errors import OutcomeUnknown, StateError, Unavailable
from bot.model.attempt import Attempt, AttemptState, Evidence
from bot.model.decision import AccountView, OrderPlan
from bot.model.instrument import Instrument
from bot.model.order import OrderReport
from bot.model.panel import FloatArray, Grid, Panel
from bot.venues.venue import AccountState, Condition, Observation, Outbox, Venue, VenueEvent

NONCES_APART: Final = 10**15
"""Between the nonces of two venues in one outbox: each counts its own by the millisecond."""

Row = Mapping[str, FloatArray]
T = TypeVar("T")


class JointVenue:
    """Venues by name, as one. ValueError where two trade an instrument of one name."""

    def __init__(self, venues: Mapping[str, Venue]) -> None:
        self._names, self._venues = tuple(venues), tuple(venues.values())
        self.instruments: tuple[Instrument, ...] = tuple(
            instrument for venue in self._venues for instrument in venue.instruments
        )
        names = [instrument.name for instrument in self.instruments]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two venues trade an instrument named {twice}")
        self._owner = {
            instrument.name: k for k, venue in enumerate(self._venues) for instrument in venue.instruments
        }
        self._widths = [len(venue.instruments) for venue in self._venues]
        self._last: list[AccountState | None] = [None] * len(self._venues)
        # What one has told of the market while another could not be asked is told once, so it is kept for the next
        # time. Its events are not: its own checkpoint is beyond them, so they must be told before that is asked for.
        self._seen: list[Observation | None] = [None] * len(self._venues)
        self._events: list[VenueEvent] = []
        self._rows: list[dict[int, Row]] = [{} for _ in self._venues]

    @property
    def identity(self) -> Mapping[str, Any]:
        """Of each venue, by name."""
        return {
            "venue": "+".join(self._names),
            "venues": {
                name: dict(venue.identity) for name, venue in zip(self._names, self._venues, strict=True)
            },
        }

    async def open(self, checkpoint: Mapping[str, Any] | None) -> Panel:
        """Open each with its part of the checkpoint; the history of all of them."""
        if checkpoint is not None and checkpoint.get("venues", {}).keys() != set(self._names):
            raise StateError(
                f"the journal's checkpoint is of other venues than {', '.join(self._names)}; start a new journal"
            )
        parts = {} if checkpoint is None else checkpoint["venues"]
        panels = await _all(
            venue.open(parts.get(name)) for name, venue in zip(self._names, self._venues, strict=True)
        )
        newest_ms = max(panel.grid.end_ms for panel in panels)
        for k, venue in enumerate(self._venues):  # an hour may have ended while one of them was opened
            while panels[k].grid.end_ms < newest_ms:
                seen = await venue.observe()
                if seen is None:
                    raise StateError(f"the market of {self._names[k]} has ended before the others'")
                self._events += seen.events
                for time_ms, row in (*seen.missed, (seen.time_ms, seen.row)):
                    panels[k] = panels[k].append(time_ms, row, panels[k].rows + 1)
        return self._side_by_side(panels)

    async def due(self) -> None:
        """When the next moment has come at all of them."""
        await _all(venue.due() for venue, seen in zip(self._venues, self._seen, strict=True) if seen is None)

    async def observe(self) -> Observation | None:
        """The next moment at which all of them were seen; None where one of them has no other."""
        rows = self._rows
        while True:
            seen = await self._each_seen()
            for k, each in enumerate(seen):
                if each is None:
                    return None
                rows[k] |= {**dict(each.missed), each.time_ms: each.row}
            told = [each for each in seen if each is not None]
            newest_ms = max(each.time_ms for each in told)
            late = [k for k, each in enumerate(told) if each.time_ms < newest_ms]
            if not late:
                break
            for k in late:
                self._seen[k] = None
        events, self._events = self._events, []
        self._seen = [None] * len(self._venues)
        self._rows = [{} for _ in self._venues]
        times = sorted({time_ms for each in rows for time_ms in each})
        merged = [
            (time_ms, self._row([each.get(time_ms, {}) for each in rows]))
            for time_ms in times
            if time_ms <= newest_ms
        ]
        # An account may have been asked for since its venue's moment was observed: the newest word goes with the events.
        account = self._added_up([each for each in self._last if each is not None], ())
        return Observation(newest_ms, merged[-1][1], account, _in_order(events), tuple(merged[:-1]))

    async def _each_seen(self) -> list[Observation | None]:
        """Of each venue what it told last; those that were not asked yet, or come late, are asked."""
        asked = [k for k, seen in enumerate(self._seen) if seen is None]
        done = await asyncio.gather(*(self._venues[k].observe() for k in asked), return_exceptions=True)
        for k, each in zip(asked, done, strict=True):
            if not isinstance(each, BaseException):
                self._seen[k] = each
                if each is not None:
                    self._events += each.events
                    self._last[k] = each.account
        _raise_worst(done)
        return list(self._seen)

    async def room(self) -> bool:
        """At all of them."""
        return any(await _all(venue.room() for venue in self._venues))

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        """Each order to its venue, all at once. Where one fails the others' orders are carried out all the same."""
        parts = []
        for k, venue in enumerate(self._venues):
            cancels = tuple(each for each in plan.cancels if self._owner.get(each.instrument) == k)
            orders = tuple(each for each in plan.orders if self._owner.get(each.instrument) == k)
            if cancels or orders:
                parts.append(venue.send(OrderPlan(cancels, orders, plan.urgent)))
        done = await asyncio.gather(*parts, return_exceptions=True)
        _raise_worst(done)
        return [report for reports in done if not isinstance(reports, BaseException) for report in reports]

    async def account(self) -> AccountState:
        """The account now; a venue that can't be reached as it was last seen, if another can, and named in `stale`."""
        told = await asyncio.gather(*(venue.account() for venue in self._venues), return_exceptions=True)
        stale = []
        for k, each in enumerate(told):
            # Of an order of which nobody knows what became, either: what is held elsewhere can be closed all the same.
            if isinstance(each, Unavailable | OutcomeUnknown) and self._last[k] is not None:
                stale.append(self._names[k])
            elif isinstance(each, BaseException):
                _raise_worst(told)
            else:
                self._last[k] = each
        if len(stale) == len(self._venues):
            _raise_worst(told)
        return self._added_up([each for each in self._last if each is not None], tuple(stale))

    async def condition(self) -> Condition:
        """The worst of all."""
        told = await _all(venue.condition() for venue in self._venues)
        left = [each.agent_left_days for each in told if each.agent_left_days is not None]
        offsets = [each.clock_offset_s for each in told if each.clock_offset_s is not None]

        def said(words: Iterable[str]) -> str:
            return "; ".join(f"{name}: {word}" for name, word in zip(self._names, words, strict=True) if word)

        return Condition(
            signer_problem=said(each.signer_problem for each in told),
            agent_left_days=min(left, default=None),
            agent_warning=said(each.agent_warning for each in told),
            clock_offset_s=max(offsets, key=abs, default=None),
            twin=said(each.twin for each in told),
            has_traded=any(each.has_traded for each in told),
        )

    def take_events(self) -> tuple[VenueEvent, ...]:
        """Of all of them, in the order in which they happened."""
        events, self._events = self._events, []
        return _in_order([*events, *(event for venue in self._venues for event in venue.take_events())])

    def checkpoint(self) -> Mapping[str, Any]:
        """Of each, by name."""
        return {
            "venues": {
                name: venue.checkpoint() for name, venue in zip(self._names, self._venues, strict=True)
            }
        }

    async def end(self) -> None:
        """The run ends in order."""
        for venue in self._venues:
            ending = getattr(venue, "end", None)
            if ending is not None:
                await ending()

    async def close(self) -> None:
        """Hang up everywhere."""
        await asyncio.gather(*(venue.close() for venue in self._venues), return_exceptions=True)

    # Side by side

    def _side_by_side(self, panels: Sequence[Panel]) -> Panel:
        interval_ms = panels[0].grid.interval_ms
        if any(panel.grid.interval_ms != interval_ms for panel in panels):
            raise StateError("the venues' markets have rows of different lengths")
        start_ms, end_ms = min(each.grid.start_ms for each in panels), panels[0].grid.end_ms
        grid = Grid.between(start_ms, end_ms, interval_ms)
        fields = {}
        for name in dict.fromkeys(name for panel in panels for name in panel.fields):
            parts = []
            for panel in panels:
                part = np.full((grid.rows, len(panel.instruments)), np.nan)
                if name in panel.fields:
                    part[grid.rows - panel.rows :] = panel.fields[name]
                parts.append(part)
            fields[name] = np.hstack(parts)
        return Panel(grid, tuple(each.name for each in self.instruments), fields)

    def _row(self, rows: Sequence[Row]) -> Row:
        return {
            name: np.concatenate(
                [row.get(name, np.full(width, np.nan)) for row, width in zip(rows, self._widths, strict=True)]
            )
            for name in dict.fromkeys(name for row in rows for name in row)
        }

    def _added_up(self, accounts: Sequence[AccountState], stale: tuple[str, ...]) -> AccountState:
        views = [each.view for each in accounts]
        wallets: dict[str, float] = {}
        for venue, view in zip(self._venues, views, strict=True):
            own = view.wallet_usd or {venue.instruments[0].wallet: view.equity_usd}
            wallets |= {name: wallets.get(name, 0.0) + usd for name, usd in own.items()}
        isolated = None
        if any(view.isolated_usd is not None for view in views):
            isolated = np.concatenate(
                [
                    np.full(len(view.lots), np.nan) if view.isolated_usd is None else view.isolated_usd
                    for view in views
                ]
            )
        view = AccountView(
            equity_usd=sum(each.equity_usd for each in views),
            lots=np.concatenate([each.lots for each in views]),
            entry_price=np.concatenate([each.entry_price for each in views]),
            leverage=np.concatenate([each.leverage for each in views]),
            open_orders=[report for each in views for report in each.open_orders],
            isolated_usd=isolated,
            wallet_usd=wallets,
        )
        first, *others = accounts
        total = replace(first, view=view, mark=np.concatenate([each.mark for each in accounts]), stale=stale)
        for each in others:
            total = replace(
                total,
                equity_usd=total.equity_usd + each.equity_usd,
                cash_usd=total.cash_usd + each.cash_usd,
                deposits_usd=total.deposits_usd + each.deposits_usd,
                funding_usd=total.funding_usd + each.funding_usd,
                fees_usd=total.fees_usd + each.fees_usd,
                positions=total.positions + each.positions,
                time_ms=max(total.time_ms, each.time_ms),
                others=total.others + each.others,
                dust_usd=total.dust_usd + each.dust_usd,
            )
        return total


class OwnOutbox:
    """One venue's part of an outbox that several share: the attempts of its own coins, by its own nonces.

    `place` numbers the venues; two must not share one.
    """

    def __init__(self, outbox: Outbox, coins: Iterable[str], place: int) -> None:
        self._outbox, self._coins, self._ahead = outbox, frozenset(coins), place * NONCES_APART

    @property
    def epoch(self) -> int:
        """As `Outbox`."""
        return self._outbox.epoch

    def write(self, attempts: Sequence[Attempt]) -> None:
        """As `Outbox`."""
        self._outbox.write([replace(each, nonce=each.nonce + self._ahead) for each in attempts])

    def move(self, cloid: str, state: AttemptState, evidence: Evidence) -> None:
        """As `Outbox`."""
        self._outbox.move(cloid, state, evidence)

    def move_all(self, moves: Sequence[tuple[str, AttemptState, Evidence]]) -> None:
        """As `Outbox`."""
        self._outbox.move_all(moves)

    def open_attempts(self) -> Sequence[Attempt]:
        """As `Outbox`."""
        return self._own(self._outbox.open_attempts())

    def since(self, nonce: int) -> Sequence[Attempt]:
        """As `Outbox`."""
        return self._own(self._outbox.since(nonce + self._ahead))

    def attempt(self, cloid: str) -> Attempt | None:
        """As `Outbox`."""
        found = self._outbox.attempt(cloid)
        return None if found is None else next(iter(self._own([found])), None)

    def attempts_of(self, client_id: str) -> Sequence[Attempt]:
        """As `Outbox`."""
        return self._own(self._outbox.attempts_of(client_id))

    def _own(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        return [
            replace(each, nonce=each.nonce - self._ahead) for each in attempts if each.coin in self._coins
        ]


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    """All of it side by side; what fails ends the rest, and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _raise_worst(done: Sequence[object]) -> None:
    """What may have happened weighs more than what has not."""
    failed = [each for each in done if isinstance(each, BaseException)]
    if failed:
        raise min(
            failed, key=lambda each: (not isinstance(each, OutcomeUnknown), isinstance(each, Unavailable))
        )


def _in_order(events: Sequence[VenueEvent]) -> tuple[VenueEvent, ...]:
    return tuple(sorted(events, key=lambda event: event.time_ms))
