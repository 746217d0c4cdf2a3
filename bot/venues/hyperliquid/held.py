"""Orders kept within what is held: what reduces is no larger than the position, and of spot no more is sold than owned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bot.model.instrument import Instrument, Kind
from bot.model.order import Order, OrderReport, Side


def within(
    order: Order, instrument: Instrument | None, lots: int, resting: Iterable[OrderReport]
) -> tuple[Order, str]:
    """An order as it may be sent where `lots` are held, and why it may not; empty where it may.

    `resting` are the open orders of the account, since what they sell of spot is bound.
    """
    if instrument is not None and instrument.kind is Kind.SPOT:
        return _of_spot(order, lots, resting)
    if not order.reduce_only:
        return order, ""
    return _no_more_than(order, -lots * order.side.sign, "there is nothing left to reduce")


def _of_spot(order: Order, lots: int, resting: Iterable[OrderReport]) -> tuple[Order, str]:
    """A sale only reduces, since nobody can owe a token, and a purchase never does."""
    if order.trigger is not None:
        return order, "the venue takes no triggers on spot"
    if order.side is Side.BUY:
        return order, "there is nothing left to reduce" if order.reduce_only else ""
    bound = sum(
        each.remaining_lots
        for each in resting
        if each.order.instrument == order.instrument and each.order.side is Side.SELL
    )
    return _no_more_than(replace(order, reduce_only=True), lots - bound, "there is nothing left to sell")


def _no_more_than(order: Order, most: int, else_why: str) -> tuple[Order, str]:
    if most <= 0:
        return order, else_why
    return (replace(order, lots=most), "") if order.lots > most else (order, "")
