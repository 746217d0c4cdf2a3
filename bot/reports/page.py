"""Renders a finished run as one HTML page that needs nothing but itself: no server, no network, no other file.

The page's content security policy names its scripts by their hashes and forbids every request, so text from a
config, a strategy or a venue can't run and can't call home even if escaping ever failed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.reports.figures import figures, monthly_returns
from bot.reports.metrics import LABELS
from bot.reports.record import RunRecord
from bot.reports.trades import Trade

MOST_TRADES = 500
#: Plotly writes style elements and draws pictures; nothing else is allowed, and no script but the two that are named.
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
    "script-src '{plotly}' '{own}'"
)
FOLDER = Path(__file__).parent
NOTHING = "–"
Amount = float | int | Decimal | None


def _signed(text: str, *, sign: bool) -> str:
    """With a true minus sign, and a plus where asked for; what rounds to zero has neither."""
    if not text.strip("-0.,"):
        return text.lstrip("-")
    return ("+" + text if sign and not text.startswith("-") else text).replace("-", "−")


def usd(value: Amount, *, sign: bool = False) -> str:
    """Dollars with separators: cents below 100,000, none above; `sign` marks gains with a plus."""
    if value is None:
        return NOTHING
    return _signed(f"{value:,.0f}" if abs(float(value)) >= 100_000 else f"{value:,.2f}", sign=sign)


def percent(value: Amount, decimals: int = 2, *, sign: bool = False) -> str:
    """A fraction as per cent."""
    return NOTHING if value is None else _signed(f"{100 * value:,.{decimals}f}", sign=sign) + "%"


def number(value: Amount, decimals: int = 2) -> str:
    """A plain number with separators."""
    return NOTHING if value is None else _signed(f"{value:,.{decimals}f}", sign=False)


def price(value: Amount) -> str:
    """A price to five significant figures, never fewer than the whole dollars."""
    if value is None:
        return NOTHING
    exact = Decimal(value)
    return f"{exact:,.{max(0, min(10, 4 - exact.adjusted()))}f}"


def moment(time_ms: int | None) -> str:
    """Minutes are enough to find a trade again; always UTC."""
    from datetime import UTC, datetime

    return (
        NOTHING if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    )


def tone(value: Amount) -> str:
    """The style class of a gain or a loss."""
    return "" if not value else "gain" if value > 0 else "loss"


def metric(name: str, value: Amount) -> str:
    """A metric with its unit, as `LABELS` has it."""
    if value is None:
        return NOTHING
    shown = {
        "%": lambda: percent(value),
        "usd": lambda: usd(value) + " USD",
        "x": lambda: number(value) + " ×",
        "h": lambda: number(value, 1) + " h",
        "d": lambda: number(value, 1) + " d",
        "n": lambda: number(value, 0),
    }
    return shown.get(LABELS[name][1], lambda: number(value))()


def _cards(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """The dozen numbers to read first."""
    m, pnl = facts["metrics"], facts["pnl"]
    low, high = number(m["sharpe_low_95"]), number(m["sharpe_high_95"])

    def card(label: str, value: str, below: str, mood: str = "") -> dict[str, str]:
        figure, _, unit = value.partition(" ")
        return {"label": label, "value": figure, "unit": unit, "below": below, "tone": mood}

    return [
        card("Net result", f"{usd(pnl['total'], sign=True)} USD", f"{percent(m['total_return'], sign=True)} of capital", tone(pnl["total"])),
        card("Annual growth", percent(m["cagr"], 1, sign=True), f"compound · volatility {percent(m['volatility'], 1)}", tone(m["cagr"])),
        card("Sharpe", number(m["sharpe"]), f"daily · 95%: {low} to {high}" if m["sharpe"] is not None else "needs two days that differ"),
        card("Max drawdown", percent(m["max_drawdown"]), f"{usd(m['max_drawdown_usd'])} USD · longest {number(m['max_drawdown_hours'], 0)} h"),
        card("Funding", f"{usd(pnl['funding'], sign=True)} USD", f"{percent(m['funding_yield_on_capital'], 1, sign=True)} a year on capital", tone(pnl["funding"])),
        card("Price", f"{usd(pnl['price'], sign=True)} USD", "realised and open, before fees", tone(pnl["price"])),
        card("Fees", f"{usd(pnl['fees'], sign=True)} USD", f"{percent(m['maker_share'], 0)} of volume as maker", tone(pnl["fees"])),
        card("Exposure", f"{number(m['exposure_mean'])} ×", f"mean gross · highest {number(m['exposure_max'])} ×"),
        card("Nearest liquidation", percent(m["min_liquidation_distance"], 1), f"price move · {facts['liquidations']} liquidated", "loss" if facts["liquidations"] else ""),
        card("Round trips", number(facts["trades"], 0), f"{'' if facts['trades_of'] == 'coins' else 'of ' + facts['trades_of'] + ' · '}{percent(m['win_rate'], 0)} won · {number(m['trades_open'], 0)} still open"),
        card("Profit factor", number(m["profit_factor"]), f"{usd(m['expectancy_usd'], sign=True)} USD a round trip"),
        card("Turnover", f"{number(m['turnover'])} ×", f"equity a day · {number(m['fills'], 0)} fills"),
    ]  # fmt: skip


def _rows(record: RunRecord, trades: Sequence[Trade]) -> list[dict[str, Any]]:
    """The round trips with the largest results, in the order they were opened, newest first."""
    largest = sorted(trades, key=lambda trade: -abs(trade.net_usd))[:MOST_TRADES]
    rows = []
    for trade in sorted(largest, key=lambda trade: -trade.opened_ms):
        size = Decimal(trade.lots_max) / record.lots_per_coin[trade.instrument]
        rows.append({
            "trade": trade, "side": "long" if trade.side.sign > 0 else "short", "value_usd": size * trade.entry_price,
            "exit": trade.exit_purpose.replace("_", " "),
        })  # fmt: skip
    return rows


def flat(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """A nested config as dotted names and values."""
    lines: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            lines.extend(flat(value, f"{prefix}{key}."))
        else:
            lines.append((f"{prefix}{key}", json.dumps(value, ensure_ascii=False)))
    return lines


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render(record: RunRecord, facts: Mapping[str, Any], trades: Sequence[Trade]) -> str:
    """The page, from the run, its `summary` and its round trips."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        usd=usd, percent=percent, number=number, price=price, moment=moment, tone=tone, metric=metric
    )
    plotly, own = get_plotlyjs(), (FOLDER / "page.js.jinja").read_text(encoding="utf-8")
    drawn = figures(record)
    data = json.dumps(
        [asdict(figure) for figure in drawn], ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    shown = _rows(record, trades)
    return environment.get_template("page.html").render(
        record=record,
        facts=facts,
        cards=_cards(facts),
        figures={figure.name: figure for figure in drawn},
        months=monthly_returns(record.curves, float(record.equity_start)),
        rows=shown,
        hidden_trades=len(trades) - len(shown),
        labels=LABELS,
        config=flat(facts["config"]),
        policy=POLICY.format(plotly=_hash(plotly), own=_hash(own)),
        style=Markup((FOLDER / "page.css.jinja").read_text(encoding="utf-8")),  # noqa: S704  the package's own file
        plotly=Markup(plotly),  # noqa: S704  the package's own script
        own_script=Markup(own),  # noqa: S704  as above
        # In a script element only "<" could end it; JSON may write it as an escape.
        data=Markup(data.replace("<", "\\u003c")),  # noqa: S704  JSON that can't leave its element
    )
