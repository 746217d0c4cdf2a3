"""The devnet's Binance: a second exchange with an account book of its own, around the same market and the same clock."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np

from bot.devnet.cex import schedule
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.exchange import CexExchange
from bot.devnet.cex.listing import MAKER, TAKER, Listing, listings
from bot.devnet.cex.prices import Prices, Quotes
from bot.devnet.cex.records import Json, Records
from bot.devnet.ladders import ladders
from bot.devnet.world import World
from bot.errors import StateError
from bot.model.order import Order, Side
from bot.sim.clearing import Rules
from bot.sim.exchange import FeeSchedule

STREET: Final = "street"
MOST_PRINTS: Final = 1000
_KEPT: Final = (
    "exchange", "records", "secrets", "tape", "prints", "incomes", "algo_orders", "keys_made", "intervals",
    "quoted_ms"
)  # fmt: skip
"""What of a face has to be known again after a restart."""


class CexFace:
    """Everything behind Binance's wire. Like the world, only the server's loop may call it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self._seed = world, seed
        self.listed = listings(world.market.instruments, world.moment.mid)
        self.prices = Prices(world.market, self.listed, seed)
        rules = Rules(fees=FeeSchedule.flat(TAKER, MAKER), default_leverage=20)
        self.exchange = CexExchange([each.instrument for each in self.listed.values()], rules)
        self.records: dict[str, Records] = {}  # by API key
        self.secrets: dict[str, str] = {}  # by API key
        self.tape: dict[str, deque[Json]] = {name: deque(maxlen=MOST_PRINTS) for name in self.listed}
        self.prints = 0  # trades that were ever on a tape
        self.incomes = 0  # rows of income that there ever were
        self.algo_orders = 0
        self.keys_made = 0
        self.intervals: schedule.Changes = {}
        self.quoted_ms = 0
        self.said: Callable[[str, Json], None] = lambda _key, _event: None
        """Told what an account's user stream says."""
        self._dice = np.random.default_rng((seed, 13))
        self.exchange.deposit(STREET, Decimal(10) ** 13, world.now_ms)
        self.step()

    @property
    def now_ms(self) -> int:
        return self.world.now_ms

    def listing(self, symbol: str) -> Listing:
        """The listing of a symbol; Rejected if there is none."""
        found = self.listed.get(symbol)
        if found is None:
            raise Rejected(-1121, "Invalid symbol.")
        return found

    # --- accounts

    def open_account(self) -> str:
        """A new account without money; its API key. Its secret is in `secrets`."""
        words = [
            hashlib.sha512(f"hedgerow devnet cex {what} {self._seed} {self.keys_made}".encode()).hexdigest()[
                :64
            ]
            for what in ("key", "secret")
        ]
        self.keys_made += 1
        self.secrets[words[0]] = words[1]
        self.records[words[0]] = Records()
        self.exchange.deposit(words[0], Decimal(0), self.now_ms)
        return words[0]

    def wallet_usd(self, key: str) -> Decimal:
        """What the venue calls the wallet balance: without the profit of what is held."""
        books = self.exchange.accounts[key]
        paid = books.fees_usd + books.forfeited_usd
        return books.deposits_usd + books.realised_usd + books.funding_usd - paid

    def next_income(self) -> int:
        self.incomes += 1
        return self.incomes

    # --- time

    def step(self) -> None:
        """Take the market's prices at the world's moment."""
        moment, listed = self.world.moment, list(self.listed.values())
        self.quoted_ms = moment.time_ms
        if not listed:  # as where a market has nothing but names that this venue could not have
            return
        quotes = self.quotes()
        made = ladders(
            quotes.mid,
            0.5e-4 * np.maximum(0.3, quotes.spread_bps),
            quotes.volume_usd_day / quotes.mid * np.array([each.instrument.lots_per_coin for each in listed]),
            np.array([float(each.price_decimals) for each in listed]),
            np.random.default_rng((self._seed, 14, moment.time_ms)),
            figures=20,
        )
        marks = {}
        for row, (each, (bids, asks)) in enumerate(zip(listed, made, strict=True)):
            marks[each.symbol] = max(Decimal(f"{quotes.mark[row]:.8f}"), Decimal("1e-8"))
            self.exchange.quote_depth(each.symbol, bids, asks, moment.time_ms)
        self.exchange.set_marks(marks, moment.time_ms)

    def quotes(self) -> Quotes:
        return self.prices.quotes(self.world.moment)

    def last_price(self, listing: Listing) -> Decimal:
        """What was paid last; the middle where nothing was since prices moved."""
        tape = self.tape[listing.symbol]
        if tape and tape[-1]["time"] >= self.quoted_ms:
            return Decimal(tape[-1]["price"])
        return listing.on_tick(float(self.quotes().mid[list(self.listed).index(listing.symbol)]))

    def settle(self, time_ms: int) -> None:
        """Pay the funding of the symbols whose interval ends at this hour."""
        due = [each for each in self.listed.values() if schedule.settles(self.intervals, each, time_ms)]
        rates = {each.symbol: self.funding_rate(each, time_ms) for each in due}
        self.exchange.settle_funding(
            {name: Decimal(f"{rate:.8f}") for name, rate in rates.items() if rate is not None},
            dict(self.exchange.marks),
            time_ms,
        )

    def funding_rate(self, listing: Listing, settles_ms: int) -> float | None:
        """What a settlement of the past paid, for its whole interval."""
        cap = float(listing.funding_cap)
        hours = schedule.covered_h(self.intervals, listing, settles_ms)
        return self.prices.funding(listing.symbol, settles_ms, hours, cap)

    def expected_rate(self, listing: Listing) -> tuple[float, int]:
        """What the next settlement is expected to pay, and when it is."""
        settles_ms = schedule.following(self.intervals, listing, self.now_ms)
        hours = schedule.covered_h(self.intervals, listing, settles_ms)
        rate = self.prices.expected_funding(
            listing.symbol, settles_ms, hours, float(listing.funding_cap), self.world.moment
        )
        return rate, settles_ms

    def others_trade(self) -> None:
        """A moment's trades of other traders: from users' orders at the best price, or from each other."""
        for name, book in self.exchange.books.items():
            if self._dice.random() >= 0.3:
                continue
            side = Side.BUY if self._dice.random() < 0.5 else Side.SELL
            outside, resting = book.depth(-side.sign), book.best(-side.sign)
            if not outside:
                continue
            price, lots = outside[0]
            lots = max(1, int(lots * self._dice.uniform(0.02, 0.3)))
            if resting is not None and resting.price is not None and (resting.price - price) * side.sign <= 0:
                self.exchange.submit(STREET, Order("flow", name, side, lots), self.now_ms)
            else:
                self.print_trade(
                    self.listed[name], price, lots, self.now_ms, is_buyer_maker=side is Side.SELL
                )

    def print_trade(
        self, listing: Listing, price: Decimal, lots: int, time_ms: int, *, is_buyer_maker: bool
    ) -> None:
        """Put a trade on the tape."""
        self.prints += 1
        self.tape[listing.symbol].append(
            {
                "id": self.prints,
                "price": listing.price(price),
                "qty": listing.quantity(lots),
                "quoteQty": f"{listing.instrument.notional(lots, price):.{listing.price_decimals}f}",
                "time": time_ms,
                "isBuyerMaker": is_buyer_maker,
                "isRPITrade": False,
            }
        )

    # --- restarts

    def saved(self) -> dict[str, Any]:
        """What it has to know again after a restart."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _KEPT}
        return kept | {"dice": self._dice.bit_generator.state, "symbols": list(self.listed)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Become what `saved` was taken of. Raises StateError if other symbols are listed by now."""
        if kept["symbols"] != list(self.listed):
            raise StateError(
                f"the devnet's state lists {', '.join(kept['symbols'])} on Binance, this market {', '.join(self.listed)}; "
                "go on with what wrote it or name another file"
            )
        for name in _KEPT:
            setattr(self, name, kept[name])
        self._dice.bit_generator.state = kept["dice"]
