"""Composition: from a config to the objects that run it. The only module that names concrete adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import plugins
from bot.clock import HOUR_MS, utc
from bot.data.store import History, Query, load
from bot.data.tables import nearest
from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot, Style
from bot.pipeline.market import rows_needed
from bot.settings import DataSettings, FeeSettings, Settings
from bot.sim.bars import Frictions
from bot.sim.exchange import FeeSchedule, Rules
from bot.sim.fees import HYPERLIQUID_PERPS

if TYPE_CHECKING:
    from bot.journal.journal import Journal
    from bot.research.backtest import Backtest
    from bot.trader.trader import Trader
    from bot.venues.sources import Source
    from bot.venues.venue import Venue

BPS = 1e-4


def mandate_of(settings: Settings, folder: Path | None = None) -> Mandate:
    """What the config tells the trader to do; plugins given as relative paths are also looked for in `folder`."""
    sizing, limits, execution = settings.sizing, settings.limits, settings.execution
    slots = tuple(
        Slot(each.name, plugins.build(each.plugin, each.parameters, folder), each.capital)
        for each in settings.strategies
    )
    return Mandate(
        slots,
        Sizing(**sizing.model_dump()),
        Limits(**{**limits.model_dump(), "max_position_usd": _or_infinite(limits.max_position_usd)}),
        Execution(
            **{**execution.model_dump(), "style": Style(execution.style)},
            taker_fee=float(fees_of(settings).rate(maker=False, volume_14d_usd=Decimal(0))),
            half_spread=settings.exchange.half_spread_bps * BPS,
        ),
    )


def fees_of(settings: Settings) -> FeeSchedule:
    """What the simulated exchange charges."""
    fees = settings.exchange.fees
    if not isinstance(fees, FeeSettings):
        return HYPERLIQUID_PERPS
    return FeeSchedule.flat(_fraction(fees.taker_bps), _fraction(fees.maker_bps))


def rules_of(settings: Settings) -> Rules:
    """The simulated exchange's terms."""
    exchange = settings.exchange
    return Rules(
        fees=fees_of(settings),
        funding_cap_per_hour=Decimal(str(exchange.funding_cap_per_h)),
        backstop_ratio=Decimal(str(exchange.backstop_ratio)),
    )


def frictions_of(settings: Settings) -> Frictions:
    """What trading costs besides fees, and how much of a bar's volume it may be."""
    exchange = settings.exchange
    return Frictions(exchange.half_spread_bps, exchange.impact_bps, exchange.bar_volume_share)


def backtest_of(settings: Settings, folder: Path | None = None) -> Backtest:
    """The backtest that a config describes, its history loaded. ConfigError, DataError for what can't be."""
    from bot.research.backtest import Backtest

    if settings.data is None:
        raise ConfigError("a backtest needs a [data] section in the config; add one")
    mandate = mandate_of(settings, folder)
    history, first_row = history_of(settings.data, rows_needed(mandate))
    return Backtest(
        name=settings.name,
        panel=history.panel,
        instruments=history.instruments,
        mandate=mandate,
        equity_usd=settings.account.equity_usd,
        rules=rules_of(settings),
        frictions=frictions_of(settings),
        leverage=settings.account.leverage,
        margin_mode=MarginMode(settings.account.margin_mode),
        settle_gaps=settings.data.missing == "settle",
        max_gap_h=settings.data.max_gap_h,
        first_row=first_row,
        config=settings.model_dump(mode="json", exclude_none=True),
        assumptions=history.notes,
    )


def history_of(data: DataSettings, warmup_rows: int) -> tuple[History, int]:
    """Recorded history and its first row to trade on: what lies before `start` warms the signals up, where there is any."""
    if data.folder is None:
        raise ConfigError("the config names no data folder; name one with --data DIR or as data.folder")
    start_ms = data.start_ms
    history = load(
        Query(
            folder=data.folder,
            table=data.table,
            prices=data.prices,
            funding=data.funding,
            reference=data.reference,
            coins=data.coins,
            start_ms=None if start_ms is None else start_ms - warmup_rows * HOUR_MS,
            end_ms=data.end_ms,
        )
    )
    if start_ms is None:
        return history, 0
    first_row = max(0, -(-start_ms // HOUR_MS) - history.panel.grid.first)
    if first_row >= history.panel.rows:
        raise ConfigError(
            f"data.start {utc(start_ms)} is after the data ends ({utc(history.panel.grid.end_ms)}); choose an earlier one"
        )
    return history, first_row


@dataclass(frozen=True)
class Paper:
    """All that a paper daemon needs but its journal; nothing has been opened or written yet."""

    name: str
    mandate: Mandate
    venue: Venue
    config: Mapping[str, Any]
    bar_s: float  # real seconds that a simulated hour takes

    def trader(self, journal: Journal) -> Trader:
        """The trader on an open journal."""
        from bot.trader.trader import Trader

        return Trader(self.name, self.venue, self.mandate, journal, self.config)


def paper_of(settings: Settings, folder: Path | None = None) -> Paper:
    """The paper daemon that a config describes. ConfigError, DataError for what can't be."""
    from bot.venues.simulated import SimulatedVenue, Terms

    if settings.market is None:
        raise ConfigError('mode = "paper" needs a [market] section; add one')
    mandate = mandate_of(settings, folder)
    account = settings.account
    terms = Terms(
        equity_usd=account.equity_usd,
        rules=rules_of(settings),
        frictions=frictions_of(settings),
        leverage=account.leverage,
        margin_mode=MarginMode(account.margin_mode),
        max_gap_h=24 if settings.data is None else settings.data.max_gap_h,
    )
    return Paper(
        name=settings.name,
        mandate=mandate,
        venue=SimulatedVenue(source_of(settings, rows_needed(mandate)), terms),
        config=settings.model_dump(mode="json", exclude_none=True),
        bar_s=HOUR_MS / 1000 / settings.market.speed,
    )


def source_of(settings: Settings, tail_rows: int) -> Source:
    """The market of a paper run: made up from a seed, or a recording played back."""
    from bot.research.backtest import refuse_gaps
    from bot.research.markets import START_MS
    from bot.sim.coins import MAJORS
    from bot.venues.sources import ReplaySource, SyntheticSource

    market = settings.market
    assert market is not None
    if market.source == "synthetic":
        unknown = [coin for coin in market.coins if coin not in MAJORS]
        if unknown:
            raise ConfigError(
                f"market.coins: the synthetic market has no coin {unknown[0]!r}; {nearest(unknown[0], list(MAJORS))}"
            )
        models = [MAJORS[coin] for coin in market.coins]
        start_ms = START_MS if market.start_ms is None else market.start_ms
        warmup = max(market.warmup_h, 1)
        return SyntheticSource(models, market.seed, start_ms - warmup * HOUR_MS, warmup, tail_rows)
    assert settings.data is not None
    data = settings.data
    if market.start is not None:
        data = data.model_copy(update={"start": market.start})
    history, first_row = history_of(data, tail_rows)
    if data.missing == "refuse":
        refuse_gaps(history.panel)
    if data.start is None:
        first_row = min(market.warmup_h, history.panel.rows - 1)
    if first_row < 1:
        raise ConfigError(
            "the replay has no hour of history before its first; choose a later market.start, or a market.warmup_h of "
            "1 or more"
        )
    named: dict[str, Any] = data.model_dump(mode="json", include={"table", "prices", "funding"})
    return ReplaySource(history.panel, history.instruments, first_row, tail_rows, named)


def _or_infinite(value: Decimal | None) -> float:
    return float("inf") if value is None else float(value)


def _fraction(bps: float) -> Decimal:
    return Decimal(str(bps)) / 10_000
