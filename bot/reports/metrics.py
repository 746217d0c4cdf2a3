"""The numbers by which a run is judged, and how each of them is defined.

Conventions. Annualisation is by 365 days (these markets never close). Sharpe, Sortino, Omega, volatility, skew,
kurtosis, worst day and expected shortfall are computed on DAILY equity: the simple returns between consecutive
midnights UTC inside the run (the last row at or before each; a run that starts at midnight starts from its starting
equity). Parts of a day at either end count for total return and drawdown only. The risk-free rate is 0. Drawdown,
exposure and time under water look at every row. A number that isn't defined (too few days, no variance, nothing
lost) is None, never NaN or infinity. Costs are negative: price + funding + fees = change of equity.

Every figure describes one path. The interval around the Sharpe ratio is Lo's for independent returns ("The Statistics
of Sharpe Ratios", 2002); carry returns are neither independent nor normal, so the true interval is wider.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bot.model.panel import HOUR_MS, FloatArray
from bot.pipeline.pair_trades import PairTrade
from bot.reports.record import Curves, RunRecord
from bot.reports.spreads import SpreadResults
from bot.reports.trades import Trade, round_trips

DAY_MS = 24 * HOUR_MS
YEAR_D = 365.0
YEAR_H = 8760.0
LEAST_CAGR_D = 90.0  # a month of +10 % is no year of +214 %

Number = float | int | None


def metrics(record: RunRecord, trades: Sequence[Trade] | None = None) -> dict[str, Number]:
    """All report metrics by name: fractions (not per cent), USD, hours; None where undefined.

    `trades` are the run's round trips if they are at hand; win rate, profit factor, expectancy and mean hold are
    over the closed ones. What was traded as a spread is one round trip with both its legs.
    """
    trips = round_trips(record) if trades is None else trades
    return {
        **_returns(record),
        **_drawdown(record),
        **_exposure(record),
        **_activity(record, trips),
        **_funding(record),
    }


def closes(times_ms: NDArray[np.int64], equity: FloatArray, equity_start: float, step_ms: int) -> FloatArray:
    """Equity at every multiple of `step_ms` within the run: that of the last row at or before it."""
    if times_ms.size == 0:
        return np.empty(0)
    marks = np.arange(-(-int(times_ms[0]) // step_ms), int(times_ms[-1]) // step_ms + 1) * step_ms
    values = equity[np.searchsorted(times_ms, marks, side="right") - 1]
    if marks.size and marks[0] == times_ms[0]:
        values[0] = equity_start  # what the first row brought belongs to what follows it
    return np.asarray(values, dtype=np.float64)


def simple_returns(values: FloatArray) -> FloatArray:
    """Returns between consecutive values; empty if equity was ever wiped out, for then no ratio means anything."""
    if values.size < 2 or not np.all(values[:-1] > 0):
        return np.empty(0)
    return np.asarray(values[1:] / values[:-1] - 1.0, dtype=np.float64)


def drawdown(equity: FloatArray, equity_start: float) -> tuple[FloatArray, FloatArray]:
    """Per row: the highest equity so far, and how far below it equity is as a fraction of it (>= 0)."""
    peak = np.maximum(np.maximum.accumulate(equity), equity_start)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(peak > 0, (peak - equity) / peak, 0.0)
    return peak, depth


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ratio(above: float, below: float) -> float | None:
    return _finite(above / below) if below else None


def _days(curves: Curves) -> float:
    return float(curves.times_ms[-1] - curves.times_ms[0]) / DAY_MS if curves.times_ms.size else 0.0


def _sharpe(daily: FloatArray) -> dict[str, Number]:
    names = ("sharpe", "sharpe_standard_error", "sharpe_low_95", "sharpe_high_95")
    deviation = float(np.std(daily, ddof=1)) if daily.size >= 2 else 0.0
    if deviation <= 1e-15:
        return dict.fromkeys(names)
    a_day = float(np.mean(daily)) / deviation
    ratio = a_day * math.sqrt(YEAR_D)
    error = math.sqrt((1 + a_day * a_day / 2) / daily.size) * math.sqrt(YEAR_D)
    return dict(zip(names, (ratio, error, ratio - 1.96 * error, ratio + 1.96 * error), strict=True))


def _shape(daily: FloatArray) -> dict[str, Number]:
    """Skew and excess kurtosis (0 for a normal distribution), from population moments."""
    away = daily - np.mean(daily) if daily.size else daily
    variance = float(np.mean(away**2)) if daily.size else 0.0
    if variance <= 1e-30:
        return {"skew": None, "kurtosis": None}
    return {
        "skew": float(np.mean(away**3)) / variance**1.5 if daily.size >= 3 else None,
        "kurtosis": float(np.mean(away**4)) / variance**2 - 3.0 if daily.size >= 4 else None,
    }


def _returns(record: RunRecord) -> dict[str, Number]:
    curves, start, end = record.curves, float(record.equity_start), float(record.equity_end)
    daily = simple_returns(closes(curves.times_ms, curves.equity, start, DAY_MS))
    hourly = np.empty(0)
    if record.interval_h <= 1:
        hourly = simple_returns(closes(curves.times_ms, curves.equity, start, HOUR_MS))
    enough = daily.size >= 2
    downside = math.sqrt(float(np.mean(np.minimum(daily, 0.0) ** 2))) if enough else 0.0
    lost = float(-np.sum(daily[daily < 0]))
    worst = np.sort(daily)[: max(1, math.ceil(daily.size * 0.01))]
    total = end / start - 1.0 if start > 0 else None
    return {
        "days": _days(curves),
        "total_return": total,
        "annual_return": float(np.mean(daily)) * YEAR_D if enough else None,
        "cagr": _cagr(total, _days(curves)),
        "volatility": float(np.std(daily, ddof=1)) * math.sqrt(YEAR_D) if enough else None,
        **_sharpe(daily),
        "sortino": _ratio(float(np.mean(daily)) * math.sqrt(YEAR_D), downside) if enough else None,
        "omega": _ratio(float(np.sum(daily[daily > 0])), lost) if enough else None,
        "worst_day": float(worst[0]) if daily.size else None,
        "worst_hour": float(np.min(hourly)) if hourly.size else None,
        "expected_shortfall_1pct": float(np.mean(worst)) if daily.size else None,
        **_shape(daily),
    }


def _cagr(total: float | None, days: float) -> float | None:
    """Compound annual growth; None for less than `LEAST_CAGR_D`, where the exponent makes nonsense of it."""
    if total is None or days < LEAST_CAGR_D:
        return None
    if total <= -1:
        return -1.0
    growth = math.log1p(total) * YEAR_D / days
    return math.expm1(growth) if growth < 50 else None


def _drawdown(record: RunRecord) -> dict[str, Number]:
    """Largest loss from a peak (fraction and USD may be at different moments) and the longest time below one."""
    curves, start = record.curves, float(record.equity_start)
    if curves.times_ms.size == 0:
        return dict.fromkeys(
            ("max_drawdown", "max_drawdown_usd", "max_drawdown_hours", "time_under_water", "calmar")
        )
    peak, depth = drawdown(curves.equity, start)
    under = curves.equity < peak
    times = curves.times_ms.astype(np.float64)
    since = np.maximum.accumulate(np.where(under, times[0], times))  # of the last row at a peak
    deepest = float(np.max(depth))
    growth = _cagr(float(record.equity_end) / start - 1.0 if start > 0 else None, _days(curves))
    return {
        "calmar": None if growth is None else _ratio(growth, deepest),
        "max_drawdown": deepest,
        "max_drawdown_usd": float(np.max(peak - curves.equity)),
        "max_drawdown_hours": float(np.max(np.where(under, times - since, 0.0))) / HOUR_MS,
        "time_under_water": float(np.mean(under)),
    }


def _held(curves: Curves) -> FloatArray:
    """Hours for which each row's positions were held: until the next row; nothing for the last."""
    return np.asarray(np.diff(curves.times_ms) / HOUR_MS, dtype=np.float64)


def _exposure(record: RunRecord) -> dict[str, Number]:
    curves = record.curves
    solvent = curves.equity > 0
    if not np.any(solvent):
        names = (
            "exposure_mean",
            "exposure_max",
            "net_exposure_mean",
            "leverage_max",
            "margin_use_max",
            "min_liquidation_distance",
        )
        return dict.fromkeys(names)
    leverage = curves.gross[solvent] / curves.equity[solvent]
    near = curves.liquidation_distance[np.isfinite(curves.liquidation_distance)]
    return {
        "exposure_mean": float(np.mean(leverage)),
        "exposure_max": float(np.max(leverage)),
        "net_exposure_mean": float(np.mean(curves.net[solvent] / curves.equity[solvent])),
        "leverage_max": float(np.max(leverage)),
        "margin_use_max": None
        if curves.margin is None
        else float(np.max(curves.margin[solvent] / curves.equity[solvent])),
        "min_liquidation_distance": float(np.min(near)) if near.size else None,
    }


def trades_of(record: RunRecord, trades: Sequence[Trade]) -> str:
    """What the round trips are of: coins, spreads, or spreads and coins."""
    if record.spreads is None:
        return "coins"
    return "spreads and coins" if any(not _is_leg(record.spreads, trade) for trade in trades) else "spreads"


def _trips(record: RunRecord, trades: Sequence[Trade]) -> Sequence[Trade | PairTrade]:
    """Round trips of spreads in place of those of their legs."""
    spreads = record.spreads
    if spreads is None:
        return trades
    return [*spreads.trades, *(trade for trade in trades if not _is_leg(spreads, trade))]


def _is_leg(spreads: SpreadResults, trade: Trade) -> bool:
    return any(trade.instrument in each.legs for each in spreads.trades)


def _activity(record: RunRecord, coins: Sequence[Trade]) -> dict[str, Number]:
    trades = _trips(record, coins)
    notional = np.array([float(fill.notional_usd) for fill in record.fills])
    maker = np.array([fill.is_maker for fill in record.fills], dtype=np.bool_)
    closed = [trade for trade in trades if not trade.is_open]
    net = np.array([float(trade.net_usd) for trade in closed])
    spread = float(np.std(net, ddof=1)) if len(net) >= 2 else 0.0
    won, lost = float(np.sum(net[net > 0])), float(-np.sum(net[net < 0]))
    days = _days(record.curves)
    mean_equity = float(np.mean(record.curves.equity)) if record.curves.equity.size else 0.0
    traded = float(np.sum(notional))
    return {
        "turnover": _ratio(traded, mean_equity * days) if mean_equity > 0 else None,
        "traded_usd": traded,
        "fills": len(record.fills),
        "trades": len(trades),
        "trades_open": len(trades) - len(closed),
        "win_rate": float(np.mean(net > 0)) if closed else None,
        "profit_factor": _ratio(won, lost) if closed else None,
        "expectancy_usd": float(np.mean(net)) if closed else None,
        "best_trade_usd": float(np.max(net)) if closed else None,
        "worst_trade_usd": float(np.min(net)) if closed else None,
        "sqn": math.sqrt(len(net)) * float(np.mean(net)) / spread if spread > 1e-9 else None,
        "mean_hold_h": float(np.mean([trade.hours for trade in closed])) if closed else None,
        "maker_share": _ratio(float(np.sum(notional[maker])), traded) if traded else None,
        "orders_refused": sum(record.refused.values()),
        "liquidations": len(record.liquidations),
        "forfeited_usd": -float(sum((one.forfeited_usd for one in record.liquidations), Decimal(0))),
    }


def _funding(record: RunRecord) -> dict[str, Number]:
    curves = record.curves
    held_h = _held(curves)
    hours = float(np.sum(held_h))
    gross_hours = float(np.sum(curves.gross[:-1] * held_h)) if hours else 0.0
    capital_hours = float(np.sum(curves.equity[:-1] * held_h)) if hours else 0.0
    funding = float(record.funding_usd)
    positive = None
    if record.payments:
        moments = np.array([payment.time_ms for payment in record.payments], dtype=np.int64)
        received = np.array([float(payment.usd) for payment in record.payments])
        _, slot = np.unique(moments, return_inverse=True)
        positive = float(np.mean(np.bincount(slot, weights=received) > 0))
    return {
        "price_usd": float(record.price_usd),
        "funding_usd": funding,
        "fees_usd": -float(record.fees_usd),
        "funding_payments": len(record.payments),
        "funding_yield_on_notional": _ratio(funding * YEAR_H, gross_hours) if gross_hours > 0 else None,
        "funding_yield_on_capital": _ratio(funding * YEAR_H, capital_hours) if capital_hours > 0 else None,
        "hours_funding_positive": positive,
    }


#: How a metric is shown: its name for people and its unit ("%", "x", "usd", "h", "d", "n" a count, "" a plain number).
LABELS: Mapping[str, tuple[str, str]] = {
    "days": ("Length", "d"),
    "total_return": ("Total return", "%"),
    "annual_return": ("Annual return, simple", "%"),
    "cagr": ("Annual growth, compound (CAGR)", "%"),
    "volatility": ("Volatility, annual", "%"),
    "sharpe": ("Sharpe ratio", ""),
    "sharpe_standard_error": ("Sharpe, standard error", ""),
    "sharpe_low_95": ("Sharpe, 95% interval from", ""),
    "sharpe_high_95": ("Sharpe, 95% interval to", ""),
    "sortino": ("Sortino ratio", ""),
    "calmar": ("Calmar ratio", ""),
    "omega": ("Omega ratio", ""),
    "max_drawdown": ("Maximum drawdown", "%"),
    "max_drawdown_usd": ("Maximum drawdown", "usd"),
    "max_drawdown_hours": ("Longest time under water", "h"),
    "time_under_water": ("Share of time under water", "%"),
    "worst_day": ("Worst day", "%"),
    "worst_hour": ("Worst hour", "%"),
    "expected_shortfall_1pct": ("Mean of the worst 1% of days", "%"),
    "skew": ("Skew of daily returns", ""),
    "kurtosis": ("Excess kurtosis of daily returns", ""),
    "exposure_mean": ("Gross exposure ÷ equity, mean", "x"),
    "exposure_max": ("Gross exposure ÷ equity, highest", "x"),
    "net_exposure_mean": ("Net exposure ÷ equity, mean", "x"),
    "margin_use_max": ("Initial margin ÷ equity, highest", "%"),
    "min_liquidation_distance": ("Nearest liquidation", "%"),
    "turnover": ("Turnover, × equity per day", "x"),
    "traded_usd": ("Traded", "usd"),
    "fills": ("Fills", "n"),
    "trades": ("Round trips", "n"),
    "trades_open": ("Round trips still open", "n"),
    "win_rate": ("Round trips won", "%"),
    "profit_factor": ("Profit factor", ""),
    "expectancy_usd": ("Mean result of a round trip", "usd"),
    "best_trade_usd": ("Best round trip", "usd"),
    "worst_trade_usd": ("Worst round trip", "usd"),
    "sqn": ("System quality number, √n · mean ÷ deviation of round trips", ""),
    "mean_hold_h": ("Mean time held", "h"),
    "maker_share": ("Maker share of volume", "%"),
    "orders_refused": ("Orders refused by the venue", "n"),
    "liquidations": ("Liquidations", "n"),
    "forfeited_usd": ("Margin kept by the liquidator, part of price", "usd"),
    "price_usd": ("Result from price", "usd"),
    "funding_usd": ("Result from funding", "usd"),
    "fees_usd": ("Fees", "usd"),
    "funding_payments": ("Funding payments", "n"),
    "funding_yield_on_notional": ("Funding on notional held, annual", "%"),
    "funding_yield_on_capital": ("Funding on capital, annual", "%"),
    "hours_funding_positive": ("Settlements with funding received", "%"),
}
