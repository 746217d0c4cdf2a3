"""One account's positions as vectors over the instruments, and the quick look whether prices could liquidate any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bot.model.account import Account, MarginMode
from bot.model.decision import BoolArray, LotsArray
from bot.model.instrument import Instrument
from bot.model.order import Order
from bot.model.panel import FloatArray


class Holdings:
    """`lots`, `size` (coins) and `entry_price` (0 where flat), kept in step with the account's exact books.

    The arrays are replaced, never written to: a snapshot may still hold the old ones.
    """

    def __init__(
        self,
        account: Account,
        instruments: Sequence[Instrument],
        columns: Mapping[str, int],
        funding_cap_per_h: float,
    ) -> None:
        width = len(instruments)
        self.account = account
        self.lots: LotsArray = np.zeros(width, np.int64)
        self.size = np.zeros(width)
        self.entry_price = np.zeros(width)
        self.isolated: dict[str, int] = {}  # positions on their own margin, and their columns
        self._columns = columns
        self._lot = [float(instrument.lot) for instrument in instruments]
        self._rate = [
            max(float(rate) for _, rate, _ in i.maintenance) + funding_cap_per_h for i in instruments
        ]
        # Size less the most that margin and funding can take of it, in coins.
        self._longs_after_margin, self._shorts_after_margin = np.zeros(width), np.zeros(width)
        self.update(account.positions)

    def update(self, names: Iterable[str]) -> None:
        """Take over what has become of these instruments."""
        lots, size, entry_price = self.lots.copy(), self.size.copy(), self.entry_price.copy()
        for name in names:
            column, position = self._columns[name], self.account.positions.get(name)
            held = position.lots if position else 0
            coins = held * self._lot[column]
            after_margin = coins - abs(coins) * self._rate[column]
            lots[column], size[column] = held, coins
            entry_price[column] = float(position.entry_price) if position else 0.0
            self._longs_after_margin[column] = after_margin if coins > 0 else 0.0
            self._shorts_after_margin[column] = after_margin if coins < 0 else 0.0
            self.isolated.pop(name, None)
            if position and position.margin_mode is MarginMode.ISOLATED:
                self.isolated[name] = column
        self.lots, self.size, self.entry_price = lots, size, entry_price

    def equity_usd(self, mark: FloatArray) -> float:
        """Cash and positions at these marks."""
        equity = float(self.account.cash_usd) + float(self.size.dot(mark))
        for name in self.isolated:
            equity += float(self.account.positions[name].cash_usd)
        return equity

    def isolated_usd(self, on_cross: BoolArray, mark: FloatArray) -> FloatArray:
        """What backs each isolated position at these marks; NaN where instruments are `on_cross`."""
        backing = np.where(on_cross, np.nan, 0.0)
        for name, column in self.isolated.items():
            cash = float(self.account.positions[name].cash_usd)
            backing[column] = cash + self.size[column] * mark[column]
        return backing

    def can_fund(
        self, orders: Sequence[Order], prices: FloatArray, leverage: FloatArray, dearest: float
    ) -> bool:
        """Whether these orders find the initial margin that they need at these prices; never True when one may not.

        The bound gives no margin back for what is closed, and lets every order cost `dearest`, a share of its value.
        It is for accounts that are on cross margin alone.
        """
        value, needed = self.equity_usd(prices), float(np.abs(self.size * prices).dot(1 / leverage))
        for order in orders:
            column = self._columns[order.instrument]
            traded = order.lots * self._lot[column] * float(prices[column])
            value -= traded * dearest
            if not order.reduce_only:
                needed += traded / float(leverage[column])
        return not self.isolated and needed < 0.99 * value

    def in_danger(self, low: FloatArray, high: FloatArray) -> bool:
        """Whether prices between these and a settlement could liquidate anything; never False when they could.

        The bound takes every position in its highest margin tier and its funding at the cap, all at worst prices.
        An unknown price is a danger.
        """
        if not self.account.positions:
            return False
        longs, shorts = self._longs_after_margin, self._shorts_after_margin
        spare = float(self.account.cash_usd) + float(longs.dot(low) + shorts.dot(high))
        for name, column in self.isolated.items():
            worst = low[column] if self.lots[column] > 0 else high[column]
            backed = float((longs[column] + shorts[column]) * worst)
            if not backed + float(self.account.positions[name].cash_usd) > 0:
                return True
            spare -= backed
        return not spare > 0
