"""Records for the report tests: bare curves, exact books from a list of fills, and a lively synthetic year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from bot.model.money import ZERO, exact, usd, usd_down
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.reports.record import Curves, Note, RunRecord, StrategyResult

HOUR_MS = 3_600_000
START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
LOTS_PER_COIN = 1000


def flat_curves(equity: Sequence[float], step_ms: int = HOUR_MS, start_ms: int = START_MS) -> Curves:
    rows = len(equity)
    none = np.zeros(rows)
    return Curves(
        times_ms=start_ms + step_ms * np.arange(rows, dtype=np.int64),
        equity=np.asarray(equity, dtype=np.float64),
        price_pnl=np.asarray(equity, dtype=np.float64) - (equity[0] if equity else 0.0),
        funding_pnl=none,
        fees=none,
        gross=none,
        net=none,
        liquidation_distance=np.full(rows, np.inf),
    )


def curve_record(equity: Sequence[float], step_ms: int = HOUR_MS, start_ms: int = START_MS) -> RunRecord:
    """A run that is nothing but an equity curve: all its result is price."""
    start, end = (exact(equity[0]), exact(equity[-1])) if equity else (Decimal(1000), Decimal(1000))
    return RunRecord(
        name="curve",
        config={},
        instruments=(),
        lots_per_coin={},
        interval_h=step_ms / HOUR_MS,
        equity_start=start,
        equity_end=end,
        price_usd=end - start,
        funding_usd=ZERO,
        fees_usd=ZERO,
        curves=flat_curves(equity, step_ms, start_ms),
        fills=(),
        payments=(),
        liquidations=(),
        notes=(),
        final_marks={},
    )


def fill(
    hour: float,
    signed_lots: int,
    price: str,
    *,
    coin: str = "BTC",
    fee_bps: str = "4.5",
    purpose: Purpose = Purpose.ENTRY,
    maker: bool = False,
    number: int = 0,
) -> Fill:
    notional = usd(abs(signed_lots) * Decimal(price) / LOTS_PER_COIN)
    return Fill(
        trade_id=number,
        time_ms=START_MS + int(hour * HOUR_MS),
        instrument=coin,
        side=Side.of(signed_lots),
        lots=abs(signed_lots),
        price=Decimal(price),
        notional_usd=notional,
        fee_usd=usd_down(notional * Decimal(fee_bps) / 10_000),
        is_maker=maker,
        client_id=f"c{number}",
        order_id=number,
        purpose=purpose,
    )


def payment(hour: float, lots: int, usd_received: str, *, coin: str = "BTC") -> FundingPayment:
    return FundingPayment(
        time_ms=START_MS + int(hour * HOUR_MS),
        instrument=coin,
        lots=lots,
        oracle=Decimal(100),
        rate=Decimal("0.0000125"),
        usd=Decimal(usd_received),
    )


def books(
    fills: Sequence[Fill],
    payments: Sequence[FundingPayment] = (),
    *,
    marks: Mapping[str, Decimal] | None = None,
    liquidations: Sequence[Liquidation] = (),
    notes: Sequence[Note] = (),
    hours: int = 100,
) -> RunRecord:
    """The exact record of these events, by cash: what came in, what went out, what the open positions are worth."""
    marks = marks or {}
    lots: dict[str, int] = {}
    cash = ZERO
    for f in fills:
        lots[f.instrument] = lots.get(f.instrument, 0) + f.signed_lots
        cash -= f.side.sign * f.notional_usd
    open_lots = {coin: held for coin, held in lots.items() if held}
    value = sum((held * marks[coin] / LOTS_PER_COIN for coin, held in open_lots.items()), ZERO)
    price = cash + value - sum((one.forfeited_usd for one in liquidations), ZERO)
    funding = sum((p.usd for p in payments), ZERO)
    fees = sum((f.fee_usd for f in fills), ZERO)
    start = Decimal(10_000)
    end = start + price + funding - fees
    record = curve_record([float(start)] * hours + [float(end)])
    return replace(
        record,
        name="books",
        instruments=tuple(lots),
        lots_per_coin=dict.fromkeys(lots, LOTS_PER_COIN),
        equity_start=start,
        equity_end=end,
        price_usd=price,
        funding_usd=funding,
        fees_usd=fees,
        fills=tuple(fills),
        payments=tuple(payments),
        liquidations=tuple(liquidations),
        notes=tuple(notes),
        final_marks={coin: marks[coin] for coin in open_lots},
    )


COINS = ("BTC", "ETH", "SOL", "HYPE", "XRP", "DOGE", "kPEPE", "AVAX", "LINK", "SUI", "ARB", "@107")


def lively_record(days: int = 400, coins: Sequence[str] = COINS, seed: int = 7) -> RunRecord:
    """A carry book over a synthetic market: random walks, funding that comes and goes, one liquidation."""
    rng = np.random.default_rng(seed)
    rows, width = days * 24 + 1, len(coins)
    base = np.array([60_000, 3_000, 150, 30, 2, 0.2, 0.01, 30, 15, 3, 0.8, 25.0] * 9)[:width]
    walk = np.cumsum(rng.normal(0, 0.006, (rows, width)), axis=0)
    prices = np.array([[float(f"{p:.5g}") for p in row] for row in base * np.exp(walk - walk[0])])
    season = np.sin(np.arange(rows)[:, None] / (24 * rng.uniform(2, 9, width)) + rng.uniform(0, 6, width))
    rates = np.round(1.25e-5 + 4e-5 * season + rng.normal(0, 6e-5, (rows, width)), 9)
    lots = np.zeros(width, dtype=np.int64)
    cash, funding, fees, forfeited = Decimal(100_000), ZERO, ZERO, ZERO
    equity, price, marks = cash, ZERO, [ZERO] * width
    fills: list[Fill] = []
    payments: list[FundingPayment] = []
    notes: list[Note] = []
    liquidations: list[Liquidation] = []
    columns: list[tuple[float, ...]] = []
    for row in range(rows):
        time_ms = START_MS + row * HOUR_MS
        marks = [exact(p) for p in prices[row]]
        for i, coin in enumerate(coins):
            if lots[i] and row:
                amount = usd(-int(lots[i]) * marks[i] / LOTS_PER_COIN * exact(rates[row, i]))
                payments.append(
                    FundingPayment(time_ms, coin, int(lots[i]), marks[i], exact(rates[row, i]), amount)
                )
                funding += amount
        for i, coin in enumerate(coins):
            if row % 8 or row > rows - 30:
                continue
            score = -np.sign(season[row, i]) * (abs(season[row, i]) > 0.75)
            wanted = int(score * 14_000 / prices[row, i] * LOTS_PER_COIN)
            same = np.sign(wanted) == np.sign(lots[i])
            change = 0 if same else wanted - int(lots[i])
            if row == 24 * 200 and i == 3 and lots[i]:
                change = -int(lots[i])
                liquidations.append(
                    Liquidation(time_ms, coin, int(lots[i]), marks[i], "backstop", Decimal("812.5"))
                )
                forfeited += Decimal("812.5")
            if not change:
                continue
            liquidated = bool(liquidations) and liquidations[-1].time_ms == time_ms and i == 3
            maker = bool(rng.random() < 0.6)
            purpose = (
                Purpose.LIQUIDATION
                if liquidated
                else Purpose.ENTRY
                if wanted
                else Purpose.STOP
                if rng.random() < 0.1
                else Purpose.EXIT
            )
            notional = usd(abs(change) * marks[i] / LOTS_PER_COIN)
            fee = usd_down(notional * (Decimal("0.00015") if maker else Decimal("0.00045")))
            number = len(fills) + 1
            side = Side.of(change)
            fills.append(
                Fill(
                    number,
                    time_ms,
                    coin,
                    side,
                    abs(change),
                    marks[i],
                    notional,
                    fee,
                    maker,
                    f"c{number}",
                    number,
                    purpose,
                )
            )
            text = f"funding {rates[row, i] * 8760:+.1%} a year, z {season[row, i] * 2.4:+.1f}, OI {rng.normal(0, 0.05):+.1%} in 6 h"
            notes.append(Note(time_ms, coin, "funding_carry", float(score), text))
            cash -= side.sign * notional
            fees += fee
            lots[i] += change
        signed = [int(lots[i]) * marks[i] / LOTS_PER_COIN for i in range(width)]
        price = cash - Decimal(100_000) + sum(signed, ZERO) - forfeited
        equity = Decimal(100_000) + price + funding - fees
        gross = float(sum((abs(s) for s in signed), ZERO))
        near = float(equity) / gross - 0.0125 if gross else np.inf
        columns.append(
            (float(equity), float(price), float(funding), float(fees), gross, float(sum(signed, ZERO)), near)
        )
    curves = Curves(
        START_MS + HOUR_MS * np.arange(rows, dtype=np.int64),
        *(np.array(c, dtype=np.float64) for c in zip(*columns, strict=True)),
    )
    third = usd(price / 3), usd(funding / 3), usd(fees / 3)
    return RunRecord(
        name="Funding carry, twelve coins",
        config={
            "version": 1,
            "sizing": {"target_leverage": 1.5, "coins": list(coins)},
            "strategies": {"funding_carry": {"enter_apr": 0.1}},
        },
        instruments=tuple(coins),
        lots_per_coin=dict.fromkeys(coins, LOTS_PER_COIN),
        interval_h=1.0,
        equity_start=Decimal(100_000),
        equity_end=equity,
        price_usd=price,
        funding_usd=funding,
        fees_usd=fees,
        curves=curves,
        fills=fills,
        payments=payments,
        liquidations=liquidations,
        notes=notes,
        final_marks={coin: marks[i] for i, coin in enumerate(coins) if lots[i]},
        by_strategy=(
            StrategyResult("funding_carry", price - third[0], funding - third[1], fees - third[2]),
            StrategyResult("positioning", *third),
        ),
        findings={"gross leverage at most 2": 31, "coin at most 15 % of equity": 204},
        assumptions=(
            "Mark price stands in for the oracle: no oracle history was recorded.",
            "Fills are at the close of the bar after the decision, with 1 bp of slippage.",
        ),
        wall_seconds=1.37,
    )
