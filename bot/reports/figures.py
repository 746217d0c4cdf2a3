"""The curves of a run as Plotly traces: plain dictionaries, small enough for a page, colours named by their role.

Colours read `theme:NAME` or `theme:NAME/OPACITY`; the page looks them up in its light or dark palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.model.panel import HOUR_MS, FloatArray
from bot.reports.metrics import drawdown
from bot.reports.record import Curves, RunRecord

DAY_MS = 24 * HOUR_MS
MOST_POINTS = 4000
MOST_COINS = 40
HIGHEST_DISTANCE = 1.5  # liquidation farther away than this is drawn off the chart

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot: its place on the page, a sentence on how to read it, and what Plotly is given."""

    name: str
    title: str
    note: str
    height: int
    data: list[Trace]
    layout: dict[str, Any]


def thin(*curves: FloatArray, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Rows to draw, at most `most`: all curves keep the lowest and highest value of every stretch, so no dip is lost."""
    rows = curves[0].size
    if rows <= most:
        return np.arange(rows)
    stretches = (most - 2) // (2 * len(curves))
    size = -(-rows // stretches)
    kept = [np.array([0, rows - 1])]
    starts = np.arange(0, rows, size)
    for curve in curves:
        known = np.isfinite(curve)
        for fill, find in ((np.inf, np.argmin), (-np.inf, np.argmax)):
            padded = np.full(starts.size * size, fill)
            padded[:rows] = np.where(known, curve, fill)
            kept.append(np.minimum(starts + find(padded.reshape(starts.size, size), axis=1), rows - 1))
    return np.unique(np.concatenate(kept))


def numbers(values: FloatArray, decimals: int) -> list[float | None]:
    """For JSON: rounded, None where there is no finite number."""
    return [v if np.isfinite(v) else None for v in (np.round(values, decimals) + 0.0).tolist()]


def _axis(**more: object) -> dict[str, Any]:
    return {
        "gridcolor": "theme:line", "linecolor": "theme:line", "zerolinecolor": "theme:muted/0.5",
        "tickcolor": "theme:line", "automargin": True, **more,
    }  # fmt: skip


def _money(title: str = "USD", **more: object) -> dict[str, Any]:
    return _axis(title={"text": title, "standoff": 8}, tickformat=",.2~f", **more)


def _times(**more: object) -> dict[str, Any]:
    return _axis(type="date", hoverformat="%a %d %b %Y %H:%M UTC", showgrid=False, **more)


def _line(name: str, x: list[int], y: list[float | None], colour: str, **more: object) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y,
        "line": {"color": f"theme:{colour}", "width": 1.4, "shape": "hv"}, **more,
    }  # fmt: skip


def equity(record: RunRecord) -> Figure:
    """Equity with the drawdown under it."""
    c, start = record.curves, float(record.equity_start)
    _, depth = drawdown(c.equity, start)
    rows = thin(c.equity, depth)
    x = c.times_ms[rows].tolist()
    data = [
        _line("Equity", x, numbers(c.equity[rows], 2), "equity", hovertemplate="%{y:,.2f} USD"),
        _line(
            "Drawdown", x, numbers(-depth[rows], 6), "loss", yaxis="y2", hovertemplate="%{y:.2%}",
            fill="tozeroy", fillcolor="theme:loss/0.18",
        ),
    ]  # fmt: skip
    layout = {
        "xaxis": _times(anchor="y2"),
        "yaxis": _money("Equity, USD", domain=[0.34, 1]),
        "yaxis2": _axis(title={"text": "Drawdown", "standoff": 8}, domain=[0, 0.27], tickformat=".1%", range=[-max(1.08 * float(depth.max()), 0.001), 0]),
        "showlegend": False,
        "shapes": [
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": start, "y1": start,
                "line": {"color": "theme:muted", "width": 1, "dash": "dot"},
            }
        ],
    }  # fmt: skip
    note = "Marked to the venue’s price at every row; the dotted line is what the run started with. Below, the loss from the highest equity so far."
    return Figure("equity", "Equity and drawdown", note, 430, data, layout)


def profit(record: RunRecord) -> Figure:
    """Cumulative profit by where it came from: gains stacked above zero, losses below, the sum as a line."""
    c = record.curves
    net = c.price_pnl + c.funding_pnl - c.fees
    rows = thin(net, c.price_pnl)
    x = c.times_ms[rows].tolist()
    parts = [
        ("Price", "price", c.price_pnl),
        ("Funding", "funding", c.funding_pnl),
        ("Fees", "fees", -c.fees),
    ]
    data: list[Trace] = []
    for name, colour, values in parts:
        shown_in_legend = True
        for stack, part in (("gains", np.maximum(values, 0.0)), ("losses", np.minimum(values, 0.0))):
            if not np.any(part[rows]):
                continue
            data.append({
                "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "showlegend": shown_in_legend,
                "x": x, "y": numbers(part[rows], 2), "stackgroup": stack, "hoverinfo": "skip",
                "line": {"width": 0, "shape": "hv"}, "fillcolor": f"theme:{colour}/0.55",
            })  # fmt: skip
            shown_in_legend = False
    split = np.stack([values[rows] for _, _, values in parts], axis=1).round(2).tolist()
    hover = (
        "<b>%{y:+,.2f} USD</b><br>price %{customdata[0]:+,.2f}<br>funding %{customdata[1]:+,.2f}"
        "<br>fees %{customdata[2]:+,.2f}"
    )
    data.append(_line("Net", x, numbers(net[rows], 2), "ink", customdata=split, hovertemplate=hover))
    layout = {"xaxis": _times(), "yaxis": _money("Cumulative, USD", zeroline=True)}
    note = "Each band is one source’s total so far. Bands above zero have earned, bands below have cost; the line is what is left of both."
    return Figure("profit", "Where the result came from", note, 380, data, layout)


def exposure(record: RunRecord) -> Figure:
    """Gross and net exposure as multiples of equity."""
    c = record.curves
    solvent = np.where(c.equity > 0, c.equity, np.nan)
    gross, net = c.gross / solvent, c.net / solvent
    rows = thin(gross, net)
    x = c.times_ms[rows].tolist()
    data = [
        _line("Gross", x, numbers(gross[rows], 4), "price", hovertemplate="%{y:.2f} ×"),
        _line("Net", x, numbers(net[rows], 4), "fees", hovertemplate="%{y:+.2f} ×"),
    ]
    layout = {
        "xaxis": _times(),
        "yaxis": _axis(title={"text": "× equity", "standoff": 8}, tickformat=".2~f", zeroline=True),
    }
    note = "Gross is the leverage of the whole book; net is what is left of it when longs and shorts are set off."
    return Figure("exposure", "Exposure", note, 300, data, layout)


def liquidation(record: RunRecord) -> Figure | None:
    """The nearest liquidation over time; None for a run that could never be liquidated."""
    c = record.curves
    distance = np.where(np.isfinite(c.liquidation_distance), c.liquidation_distance, np.nan)
    if not np.any(np.isfinite(distance)):
        return None
    rows = thin(distance)
    nearest = int(np.nanargmin(distance))
    highest = float(min(np.nanmax(distance) * 1.08, HIGHEST_DISTANCE))
    x = c.times_ms[rows].tolist()
    data = [
        _line("Nearest liquidation", x, numbers(distance[rows], 5), "equity", hovertemplate="%{y:.1%} away"),
        {
            "type": "scatter", "mode": "markers+text", "x": [int(c.times_ms[nearest])], "y": [float(distance[nearest])],
            "marker": {"color": "theme:loss", "size": 7}, "text": [f"{distance[nearest]:.1%}"],
            "textposition": "bottom center", "textfont": {"color": "theme:loss"}, "hoverinfo": "skip", "cliponaxis": False,
        },
    ]  # fmt: skip
    layout = {
        "xaxis": _times(), "showlegend": False,
        "yaxis": _axis(title={"text": "Price move", "standoff": 8}, tickformat=".0%", range=[0, max(highest, 0.01)]),
    }  # fmt: skip
    note = "The smallest move of one price that would have had a position liquidated. No line where nothing could be"
    note += "; beyond 150% it is off the chart." if np.nanmax(distance) > HIGHEST_DISTANCE else "."
    return Figure("liquidation", "Distance to liquidation", note, 300, data, layout)


def _buckets(first_ms: int, last_ms: int) -> tuple[str, NDArray[np.int64]]:
    """The calendar stretch that suits a span, and its edges in ms: days, weeks from Monday, or months."""
    days = (last_ms - first_ms) / DAY_MS
    if days > 1100:
        start = np.datetime64(first_ms, "ms").astype("datetime64[M]")
        stop = np.datetime64(last_ms, "ms").astype("datetime64[M]") + 2
        return "month", np.arange(start, stop).astype("datetime64[ms]").astype(np.int64)
    step, shift = (DAY_MS, 0) if days <= 150 else (7 * DAY_MS, 4 * DAY_MS)  # the epoch was a Thursday
    start_ms = (first_ms - shift) // step * step + shift
    return ("day" if step == DAY_MS else "week"), np.arange(start_ms, last_ms + step, step, dtype=np.int64)


def _sum_by_bucket(
    record: RunRecord,
) -> tuple[str, NDArray[np.int64], list[str], FloatArray, NDArray[np.int64]]:
    """Name and edges of the buckets, coins, USD and number of payments per (coin, bucket)."""
    payments = record.payments
    times = np.array([p.time_ms for p in payments], dtype=np.int64) - 1  # paid for the hour that ends then
    amounts = np.array([float(p.usd) for p in payments], dtype=np.float64)
    coins = sorted({p.instrument for p in payments})
    place = {coin: row for row, coin in enumerate(coins)}
    rows = np.array([place[p.instrument] for p in payments], dtype=np.int64)
    name, edges = _buckets(int(times.min()), int(times.max()))
    width = edges.size - 1
    cell = rows * width + np.clip(np.searchsorted(edges, times, side="right") - 1, 0, width - 1)
    shape = (len(coins), width)
    total = np.bincount(cell, weights=amounts, minlength=len(coins) * width).reshape(shape).astype(np.float64)
    count = np.bincount(cell, minlength=len(coins) * width).reshape(shape).astype(np.int64)
    return name, edges, coins, total, count


def _fewer(
    coins: Sequence[str], usd: FloatArray, count: NDArray[np.int64]
) -> tuple[list[str], FloatArray, NDArray[np.int64]]:
    """Coins by what they brought, the least on top; beyond `MOST_COINS`, those that moved least are one row."""
    turnover = np.abs(usd).sum(axis=1)
    shown = np.sort(np.argsort(-turnover, kind="stable")[:MOST_COINS])
    rest = np.setdiff1d(np.arange(len(coins)), shown)
    shown = shown[np.argsort(usd[shown].sum(axis=1), kind="stable")]
    names = [coins[row] for row in shown]
    usd_shown, count_shown = usd[shown], count[shown]
    if rest.size:
        names.insert(0, f"{rest.size} others")
        usd_shown = np.vstack([usd[rest].sum(axis=0), usd_shown])
        count_shown = np.vstack([count[rest].sum(axis=0), count_shown])
    return names, usd_shown, count_shown


def funding(record: RunRecord) -> Figure | None:
    """Funding received per coin and stretch of time, the account's total above; None if nothing was ever paid."""
    if not record.payments:
        return None
    name, edges, all_coins, all_usd, all_count = _sum_by_bucket(record)
    coins, usd, count = _fewer(all_coins, all_usd, all_count)
    held = np.where(count > 0, usd, np.nan)
    seen = held[np.isfinite(held)]
    cap = float(np.max(np.abs(np.percentile(seen, [5, 95])))) or float(np.max(np.abs(seen))) or 1.0
    labels = np.datetime_as_string(
        edges[:-1].astype("datetime64[ms]"), unit="M" if name == "month" else "D"
    ).tolist()
    when = {"day": "%{customdata}", "week": "week of %{customdata}", "month": "%{customdata}"}[name]
    total = usd.sum(axis=0)
    above = min(0.3, 110 / (170 + 19 * len(coins)))
    data: list[Trace] = [
        {
            "type": "bar", "x": ((edges[:-1] + edges[1:]) // 2).tolist(), "width": (np.diff(edges) * 0.86).tolist(),
            "y": numbers(total, 2), "customdata": labels, "yaxis": "y2",
            "marker": {"color": ["theme:funding" if t >= 0 else "theme:paid" for t in total], "line": {"width": 0}},
            "hovertemplate": f"{when}<br><b>%{{y:+,.2f}} USD</b> in all<extra></extra>",
        },
        {
            "type": "heatmap", "x": edges.tolist(), "y": list(range(len(coins))), "z": [numbers(row, 2) for row in held],
            "zmin": -cap, "zmax": cap, "zmid": 0, "xgap": 1 if edges.size < 200 else 0, "ygap": 1,
            "hoverongaps": False, "customdata": [labels] * len(coins), "text": [[coin] * (edges.size - 1) for coin in coins],
            "hovertemplate": f"<b>%{{text}}</b> {when}<br>%{{z:+,.2f}} USD<extra></extra>",
            "colorscale": [[0, "theme:paid"], [0.5, "theme:neutral"], [1, "theme:received"]],
            "colorbar": {
                "title": {"text": f"USD per {name}", "side": "right"}, "thickness": 10, "outlinewidth": 0, "len": 1 - above - 0.04,
                "y": 0, "yanchor": "bottom", "tickformat": "+,.2~f", "nticks": 7,
            },
        },
    ]  # fmt: skip
    layout = {
        "xaxis": _times(anchor="y", ticks="outside", range=[int(edges[0]), int(edges[-1])]),
        "yaxis": _axis(
            domain=[0, 1 - above - 0.04], showgrid=False, zeroline=False, tickmode="array", tickvals=list(range(len(coins))),
            ticktext=[f"{coin}  {row.sum():+,.0f}".replace("-", "−") for coin, row in zip(coins, usd, strict=True)],
            range=[-0.5, len(coins) - 0.5],
        ),
        "yaxis2": _money(f"USD per {name}", domain=[1 - above, 1], zeroline=True),
        "showlegend": False, "hovermode": "closest",
    }  # fmt: skip
    note = (
        f"What each coin’s positions received (blue) or paid (orange) per {name}; empty where none was held. Beside each"
        f" coin its total in USD, above the account’s total. Colours end at the 5–95 percentile (±{cap:,.2f} USD)."
    )
    return Figure("funding", "Funding received", note, int(170 + 19 * len(coins) + 60), data, layout)


def figures(record: RunRecord) -> list[Figure]:
    """All plots of a run that has at least one row, those without anything to show left out."""
    if record.curves.times_ms.size == 0:
        return []
    drawn = [equity(record), profit(record), funding(record), exposure(record), liquidation(record)]
    return [figure for figure in drawn if figure is not None]


def monthly_returns(
    curves: Curves, equity_start: float
) -> list[tuple[int, list[float | None], float | None]]:
    """Per year: the returns of its twelve months and of the year; None where the run wasn't, or equity was gone."""
    if curves.times_ms.size == 0:
        return []
    ending = curves.times_ms - 1  # a row holds what came before it: midnight on the first is the month before
    ending[0] += 1  # but a run that starts then starts the new month
    month_of = ending.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    last = np.append(np.nonzero(np.diff(month_of))[0], month_of.size - 1)
    table: dict[int, list[float | None]] = {}
    before = equity_start
    for row in last.tolist():
        year, month = divmod(int(month_of[row]), 12)
        after = float(curves.equity[row])
        table.setdefault(1970 + year, [None] * 12)[month] = after / before - 1.0 if before > 0 else None
        before = after
    result: list[tuple[int, list[float | None], float | None]] = []
    for year, months in table.items():
        known = [m for m in months if m is not None]
        result.append((year, months, float(np.prod([1.0 + m for m in known])) - 1.0 if known else None))
    return result
