"""What every kind of plan needs: which orders are worked with, how far a price may go, how one is withdrawn."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from bot.model.decision import Cancel
from bot.model.instrument import Instrument
from bot.model.money import exact
from bot.model.order import OrderReport, Purpose, Side

PROTECTIVE = (Purpose.STOP, Purpose.TAKE_PROFIT)
VENUES_OWN = (*PROTECTIVE, Purpose.LIQUIDATION, Purpose.SETTLEMENT)  # nobody sends these when they trade
NOT_WORKING = (*PROTECTIVE, Purpose.EXTERNAL)  # neither kept for what is wanted nor withdrawn for what is not


def bound(instrument: Instrument, side: Side, mark: float, slippage_bps: float) -> Decimal | None:
    """The worst price to take, `slippage_bps` beyond mark, rounded to the near side.

    None where nothing bounds it, no price is known (`mark` 0 or NaN), or the bound would not be above 0.
    """
    if not mark > 0 or not isfinite(slippage_bps):
        return None
    price = exact(mark) * (1 + side.sign * exact(slippage_bps) / 10_000)
    return instrument.round_price(price, up=side is Side.SELL) if price > 0 else None


def withdrawal(report: OrderReport, because: str) -> Cancel:
    """The cancel of an open order."""
    return Cancel(report.order_id, report.order.client_id, report.order.instrument, because)
