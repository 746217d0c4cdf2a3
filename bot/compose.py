"""From a config to mandates and to the runs over history that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bot import plugins
from bot.clock import HOUR_MS, utc
from bot.data.legs import load_legs
from bot.data.store import History, Query, load
from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.model.instrument import HYPERLIQUID, Instrument
from bot.model.money import exact
from bot.model.spread import Spread, find_spreads
from bot.pipeline.mandate import Execution, Limits, Mandate, Sizing, Slot, Style
from bot.pipeline.market import rows_needed
from bot.settings import DataSettings, FeeSettings, Settings, shown
from bot.sim.bars import Frictions
from bot.sim.exchange import FeeSchedule, Rules
from bot.sim.fees import HYPERLIQUID_PERPS, HYPERLIQUID_SPOT

if TYPE_CHECKING:
    from bot.research.backtest import Backtest

BPS = 1e-4
CEX_FEES = FeeSchedule.flat(Decimal("0.0005"), Decimal("0.0002"))
"""Takers and makers of Binance's USDⓈ-M futures without a discount; Bybit's and OKX's are near it."""


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


def protection_cautions(settings: Settings, mandate: Mandate) -> tuple[str, ...]:
    """What of the protective stops should be known of a config."""
    account = settings.account
    if all(each.on == "spreads" for each in settings.strategies):
        if settings.mode == "backtest":
            return ()
        sentence = (
            "no stop rests on a leg of a spread: while the daemon is down the legs hold each other, and where a venue takes "
            "one nobody closes the other"
        )
        piece, most = Decimal(str(settings.execution.max_unhedged_usd)), settings.policy.max_order_usd
        if settings.mode != "paper" or piece <= most:
            return (sentence,)
        refused = (
            f"execution.max_unhedged_usd = {piece:f}, what a spread is opened by at once, is above policy.max_order_usd = "
            f"{most:f}, and such a piece is refused; lower the one or raise the other"
        )
        return (sentence, refused)
    if settings.cex.keys() == {"okx"} and settings.venue is None:
        return (
            "no stop can rest at OKX, whose algo orders are not signed: nothing protects what is held while the daemon is down",
        )
    return mandate.protection_cautions(
        account.leverage, isolated=account.margin_mode == "isolated", is_daemon=settings.mode != "backtest"
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
    history, first_row = history_of(settings.data, rows_needed(mandate), legs_of(settings))
    mandate = with_spreads(mandate, settings, history.instruments)
    wallets, wallet_rules = wallets_of(settings, history.instruments)
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
        config=shown(settings),
        assumptions=history.notes,
        wallets=wallets,
        wallet_rules=wallet_rules,
    )


def variants_of(settings: Settings, folder: Path | None = None) -> list[tuple[str, Backtest]]:
    """The runs that a backtest's report is to compare it with, by name."""
    found = []
    for variant in settings.variants:
        strategies = tuple(
            each.model_copy(update={"parameters": {**each.parameters, **variant.parameters}})
            if each.name == variant.strategy
            else each
            for each in settings.strategies
        )
        found.append(
            (variant.name, backtest_of(settings.model_copy(update={"strategies": strategies}), folder))
        )
    return found


def legs_of(settings: Settings) -> tuple[str, ...]:
    """Every leg that the config names, in order."""
    return tuple(dict.fromkeys(name for each in settings.spreads for name in (each.primary, each.hedge)))


def with_spreads(mandate: Mandate, settings: Settings, instruments: Sequence[Instrument]) -> Mandate:
    """The mandate with the config's spreads, now that it is known what their legs are. ConfigError for what is none."""
    if not settings.has_spreads:
        return mandate
    by_name = {instrument.name: instrument for instrument in instruments}
    try:
        spreads = tuple(Spread(by_name[each.primary], by_name[each.hedge]) for each in settings.spreads)
        if settings.find_spreads:
            spreads = with_found(spreads, instruments)
        trading = {each.name for each in settings.strategies if each.on == "spreads"}
        slots = tuple(
            replace(slot, spreads=spreads) if slot.name in trading else slot for slot in mandate.strategies
        )
        legs = frozenset(leg.name for spread in spreads for leg in spread.legs)
        bound = replace(mandate, strategies=slots, execution=replace(mandate.execution, unstopped=legs))
        bound.check_legs()
    except KeyError as missing:
        raise ConfigError(f"spreads: {missing} is not traded here; there are {', '.join(by_name)}") from None
    except ValueError as error:
        raise ConfigError(f"spreads: {error}") from None
    return bound


def with_found(spreads: Sequence[Spread], instruments: Sequence[Instrument]) -> tuple[Spread, ...]:
    """Spreads with those that the rest of the instruments make: of two hedges spot is taken, and a leg only once.

    ConfigError where there is none at all.
    """
    found, taken = list(spreads), {leg.name for spread in spreads for leg in spread.legs}
    for each in find_spreads(instruments):
        names = {leg.name for leg in each.legs}
        if not names & taken:
            found.append(each)
            taken |= names
    if not found:
        raise ConfigError(
            "find_spreads found no pair of one coin among what is traded "
            f"({', '.join(instrument.name for instrument in instruments)}); add a hedge of one"
        )
    return tuple(found)


def wallets_of(
    settings: Settings, instruments: Sequence[Instrument]
) -> tuple[dict[str, Decimal], dict[str, Rules]]:
    """What each wallet of a backtest of spreads begins with, and its venue's terms; nothing where all is one account."""
    if not settings.spreads:
        return {}, {}
    wallets = shares_of(settings, list(dict.fromkeys(each.wallet for each in instruments)))
    rules = rules_of(settings)
    fees = {HYPERLIQUID: rules.fees, f"{HYPERLIQUID} spot": HYPERLIQUID_SPOT}
    return wallets, {name: replace(rules, fees=fees.get(name, CEX_FEES)) for name in wallets}


def shares_of(settings: Settings, names: Sequence[str]) -> dict[str, Decimal]:
    """What each of some wallets begins with, USD: all of it in a single one unless the config says otherwise."""
    equity, shares = settings.account.equity_usd, settings.account.wallets
    if len(names) == 1 and not shares:
        return {names[0]: equity}
    if set(shares) != set(names):
        unknown = [name for name in shares if name not in names]
        missing = [name for name in names if name not in shares]
        what = f"it has no {missing[0]!r}" if missing else f"there is no {unknown[0]!r}"
        raise ConfigError(
            f"account.wallets must say what part of the balance each wallet begins with ({', '.join(names)}), and {what}"
        )
    return {name: exact(round(float(equity) * shares[name], 2)) for name in names}


def history_of(data: DataSettings, warmup_rows: int, legs: Sequence[str] = ()) -> tuple[History, int]:
    """Recorded history and its first row to trade on: what lies before `start` warms the signals up, where there is any."""
    if data.folder is None:
        raise ConfigError("the config names no data folder; name one with --data DIR or as data.folder")
    start_ms = data.start_ms
    begin_ms = None if start_ms is None else start_ms - warmup_rows * HOUR_MS
    if legs:
        history = load_legs(data.folder, legs, begin_ms, data.end_ms)
    else:
        history = load(
            Query(
                folder=data.folder,
                table=data.table,
                prices=data.prices,
                funding=data.funding,
                reference=data.reference,
                coins=data.coins,
                start_ms=begin_ms,
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


def _or_infinite(value: Decimal | None) -> float:
    return float("inf") if value is None else float(value)


def _fraction(bps: float) -> Decimal:
    return Decimal(str(bps)) / 10_000
