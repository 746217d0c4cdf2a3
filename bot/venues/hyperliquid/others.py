"""Whoever else trades the account: strangers, who are told of and left alone, and a daemon like this one."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bot.errors import StateError
from bot.model.order import OrderReport, Purpose
from bot.venues.hyperliquid.orders import Register

log = structlog.get_logger("hedgerow")


class Others:
    """What a register has met of them."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._told: set[int] = set()  # order ids

    def see(self, orders: Sequence[OrderReport]) -> None:
        """Tell of each order of a stranger, once."""
        external = [each for each in orders if each.order.purpose is Purpose.EXTERNAL]
        for report in external:
            if report.order_id not in self._told:
                log.warning(
                    "an order that was not placed here",
                    found="it counts in risk and is left alone; `hedgerow flatten` cancels it",
                    coin=report.order.instrument,
                    side=report.order.side.value,
                    lots=report.remaining_lots,
                    order=report.order_id,
                )
        self._told = {report.order_id for report in external}

    @property
    def twin(self) -> str:
        """Why a daemon like this one seems to trade the account, and what to do; empty where there is no sign of one."""
        cloids = self._register.twins
        if not cloids:
            return ""
        return (
            f"the account has orders that a daemon of this program sent and that this journal does not hold (cloid "
            f"{min(cloids)}{', …' if len(cloids) > 1 else ''}): another one trades it too, or this is not the journal of "
            "last time, or its disk has lost the end of it; stop the other, or run with its journal, or, where there is "
            "no other, start once with --adopt, which takes those orders for somebody else's"
        )

    def meet_a_twin(self, *, adopts: bool) -> None:
        """StateError where there is one: two that both steer an account undo each other. Or its orders are adopted."""
        if not self.twin:
            return
        if not adopts:
            raise StateError(self.twin)
        log.warning("orders adopted", cloids=sorted(self._register.twins))
        self._register.adopted |= self._register.twins
        self._register.twins.clear()
