"""Several accounts as one market of bars: each wallet with an exchange and cash of its own.

What one wallet has gained does not keep another from liquidation, spot is bought with what is there and can't be sold
short. It has the face of `BarMarket`, so that a backtest drives either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from bot.model.account import MarginMode, Position
from bot.model.decision import AccountView, LotsArray, OrderPlan
from bot.model.instrument import HYPERLIQUID, Instrument, Kind
from bot.model.money import ZERO
from bot.model.order import Order, OrderReport
from bot.model.panel import FloatArray
from bot.sim.bar_market import BarMarket, TapeEvent
from bot.sim.bars import Bar, Frictions
from bot.sim.exchange import Rules
from bot.sim.funding import FundingRound, made_out

Columns = NDArray[np.intp]
_Of = Callable[[BarMarket], FloatArray]


@dataclass(frozen=True, slots=True)
class Wallet:
    """One of the accounts, and which of all columns are traded with it."""

    name: str
    market: BarMarket
    columns: Columns


class JointMarket:
    """As `BarMarket`, over several wallets."""

    isolated_usd: FloatArray | None = None
    """All are on cross margin, each in its own wallet."""

    def __init__(self, wallets: Sequence[Wallet], instruments: Sequence[Instrument]) -> None:
        self.wallets, self.instruments = tuple(wallets), tuple(instruments)
        self.columns = {instrument.name: column for column, instrument in enumerate(instruments)}
        self._owner = {
            self.instruments[column].name: wallet for wallet in wallets for column in wallet.columns.tolist()
        }
        self._lots: LotsArray | None = None
        self.leverage = self._merged(lambda market: market.leverage)

    @classmethod
    def opened(
        cls,
        account: str,
        instruments: Sequence[Instrument],
        rules: Mapping[str, Rules],
        frictions: Frictions,
        equity_usd: Mapping[str, Decimal],
        leverage: int,
        time_ms: int,
    ) -> JointMarket:
        """One new account in each wallet, funded with its share; `rules` by wallet."""
        wallets = []
        for name in dict.fromkeys(each.wallet for each in instruments):
            columns = np.array(
                [k for k, each in enumerate(instruments) if each.wallet == name], dtype=np.intp
            )
            own = [instruments[k] for k in columns]
            market = BarMarket.opened(
                account, own, rules[name], frictions, equity_usd[name], leverage, MarginMode.CROSS, time_ms
            )
            wallets.append(Wallet(name, market, columns))
        return cls(wallets, instruments)

    # As BarMarket

    @property
    def account(self) -> Books:
        """The books of all wallets together."""
        return Books(self.wallets)

    @property
    def holdings(self) -> Sizes:
        """What is held, as vectors."""
        return Sizes(self._merged(lambda market: market.holdings.size))

    @property
    def mark(self) -> FloatArray:
        """As carried."""
        return self._merged(lambda market: market.mark)

    @property
    def lots(self) -> LotsArray:
        """Signed lots held; the same array as long as they are the same."""
        lots = np.zeros(len(self.instruments), np.int64)
        for wallet in self.wallets:
            lots[wallet.columns] = wallet.market.lots
        if self._lots is None or not np.array_equal(lots, self._lots):
            self._lots = lots
        return self._lots

    @property
    def wallet_usd(self) -> dict[str, float]:
        """Equity of each wallet."""
        return {wallet.name: wallet.market.equity_usd for wallet in self.wallets}

    @property
    def view(self) -> AccountView:
        """The account as a decision looks at it."""
        by_wallet = self.wallet_usd
        return AccountView(
            sum(by_wallet.values()),
            self.lots,
            self._merged(lambda market: market.holdings.entry_price),
            self.leverage,
            self.open_orders,
            None,
            by_wallet,
        )

    @property
    def open_orders(self) -> Sequence[OrderReport]:
        """Orders that rest or wait."""
        return [report for wallet in self.wallets for report in wallet.market.open_orders]

    @property
    def unpaid_hours(self) -> int:
        """Settlements of held positions whose rate is unknown."""
        return sum(wallet.market.unpaid_hours for wallet in self.wallets)

    @property
    def short_of_volume(self) -> int:
        """Times that an order found less volume than it asked for."""
        return sum(wallet.market.short_of_volume for wallet in self.wallets)

    def open(self, bar: Bar, plan: OrderPlan) -> list[OrderReport]:
        """Carry out at the open what was decided before it, each order in its wallet."""
        reports = []
        for wallet in self.wallets:
            names = {self.instruments[column].name for column in wallet.columns.tolist()}
            own = OrderPlan(
                tuple(each for each in plan.cancels if each.instrument in names),
                tuple(filter(None, (self._sold_if_owned(o) for o in plan.orders if o.instrument in names))),
            )
            if own or wallet.market.open_orders or wallet.market.lots.any():
                reports += wallet.market.open(_part(bar, wallet.columns), own)
        return reports

    def close(self, bar: Bar) -> None:
        """Live through the rest of the bar."""
        for wallet in self.wallets:
            wallet.market.close(_part(bar, wallet.columns))

    def take_events(self) -> list[TapeEvent]:
        """What happened since the last call, wallet by wallet; settlements that pay nothing are none."""
        events: list[TapeEvent] = []
        for wallet in self.wallets:
            for event in wallet.market.take_events():
                if type(event) is FundingRound:
                    # Which hours another venue settles for is not told with its rates.
                    hours = 1 if self.instruments[wallet.columns[0]].venue == HYPERLIQUID else None
                    paid = (payment for payment in made_out([event]) if payment.rate)
                    events += [replace(payment, interval_h=hours) for payment in paid]
                else:
                    events.append(event)
        return events

    def settle_at_last_price(self, name: str, time_ms: int) -> OrderReport:
        """Close a position at the last known mark."""
        return self._owner[name].market.settle_at_last_price(name, time_ms)

    def _sold_if_owned(self, order: Order) -> Order | None:
        """Of spot no more is sold than there is."""
        column = self.columns[order.instrument]
        if self.instruments[column].kind is not Kind.SPOT or order.signed_lots > 0:
            return order
        owned = int(self.lots[column])
        return replace(order, lots=min(order.lots, owned)) if owned > 0 else None

    def _merged(self, of: _Of) -> FloatArray:
        values = np.zeros(len(self.instruments))
        for wallet in self.wallets:
            values[wallet.columns] = of(wallet.market)
        return values


@dataclass(frozen=True, slots=True)
class Sizes:
    """Signed sizes in coins."""

    size: FloatArray


class Books:
    """The totals of several accounts; see `Account`."""

    def __init__(self, wallets: Iterable[Wallet]) -> None:
        accounts = [wallet.market.account for wallet in wallets]
        self.cash_usd = sum((each.cash_usd for each in accounts), ZERO)
        self.funding_usd = sum((each.funding_usd for each in accounts), ZERO)
        self.fees_usd = sum((each.fees_usd for each in accounts), ZERO)
        self.forfeited_usd = sum((each.forfeited_usd for each in accounts), ZERO)
        self.positions: dict[str, Position] = {
            name: position for each in accounts for name, position in each.positions.items()
        }
        self._accounts = accounts

    def equity_usd(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Cash and all positions at `marks`."""
        return sum((each.equity_usd(marks) for each in self._accounts), ZERO)


def _part(bar: Bar, columns: Columns) -> Bar:
    opened, rate = bar.open[columns], bar.funding_rate[columns]
    return Bar(
        bar.start_ms,
        bar.end_ms,
        opened,
        bar.high[columns],
        bar.low[columns],
        bar.mark[columns],
        bar.oracle[columns],
        rate,
        None if bar.volume_usd is None else bar.volume_usd[columns],
        bar.all_paid,
        bar.all_open or bool(np.isfinite(opened).all()),
    )
