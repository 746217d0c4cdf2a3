"""The spot market beside the perpetuals: what is listed, at which prices, and the exchange that keeps the balances.

Each pair follows a perpetual of the same market: its middle is the perpetual's oracle and a basis of a few hundredths of
a percent that changes from hour to hour, a function of the seed and the time. Candles of hours that are over are the
perpetual's, moved by what lay between the two as the hour began and as it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from bot.devnet.ladders import ladders
from bot.devnet.market import STEPS, Market, Moment
from bot.model.order import Side
from bot.model.panel import HOUR_MS, FloatArray
from bot.sim.book import Book
from bot.sim.spot import SPOT_PRICE_DECIMALS, Pair, SpotExchange, Token, Wallet

FIRST_ASSET: Final = 10_000
BASIS_BPS, LARGEST_BASIS_BPS = 1.5, 4.0
SHARE_OF_VOLUME: Final = 0.1  # of the perpetual's
USDC: Final = Token("USDC", 8, 8)


@dataclass(frozen=True, slots=True)
class Listing:
    """One base token with its pair against USDC, numbered as on the venue. `ratio` is its price over the perpetual's."""

    perp: str
    token: str
    token_index: int
    pair_index: int
    size_decimals: int
    wei_decimals: int
    token_id: str
    full_name: str | None
    evm_contract: str | None
    evm_extra_decimals: int
    ratio: float = 1.0

    @property
    def pair(self) -> str:
        return "PURR/USDC" if self.pair_index == 0 else f"@{self.pair_index}"


LISTINGS: Final = (
    Listing(
        "HYPE", "PURR", 1, 0, 0, 5, "0xc1fb593aeffbeb02f85e0308e9956a90", None,
        "0x9b498c3c8a0b8cd8ba1d9851d40d186f1872b44e", 13, 0.005,
    ),
    Listing("HYPE", "HYPE", 150, 107, 2, 8, "0x0d01dc56dcaaca66ad901c959b4011ec", "Hyperliquid", None, 0),
    Listing(
        "BTC", "UBTC", 197, 142, 5, 10, "0x8f254b963e8468305d409b33aa137c67", "Unit Bitcoin",
        "0x9fdbda0a5e284c32744d2f17ee5c74b284993463", -2,
    ),
    Listing(
        "ETH", "UETH", 221, 151, 4, 9, "0xe1edd30daaf5caac3fe63569e24748da", "Unit Ethereum",
        "0xbe6727b535545c67d5caa73dea54865b92cf7907", 9,
    ),
    Listing(
        "SOL", "USOL", 254, 156, 3, 8, "0x49b67c39f5566535de22b29b0e51e685", "Unit Solana",
        "0x068f321fa8fb9f0d135f290ef6a3e2813e1c8a29", 1,
    ),
)  # fmt: skip
USDC_ID: Final = "0x6d1e7cde53ba9467b783cb7c530ce054"


class Spot:
    """The pairs that follow a market's perpetuals, their exchange and their prices."""

    def __init__(self, market: Market, seed: int) -> None:
        columns = {each.name: column for column, each in enumerate(market.instruments)}
        self.listings = {each.pair: each for each in LISTINGS if each.perp in columns}
        self.column = {name: columns[each.perp] for name, each in self.listings.items()}
        self.pairs = {
            name: Pair(name, Token(each.token, each.size_decimals, each.wei_decimals), USDC)
            for name, each in self.listings.items()
        }
        self.tokens = {"USDC": (0, USDC_ID)} | {
            each.token: (each.token_index, each.token_id) for each in self.listings.values()
        }
        self.meta = {"universe": _universe(list(self.listings.values())), "tokens": _tokens(self.listings)}
        self.exchange = SpotExchange(list(self.pairs.values()))
        self._market = market
        self._seed = seed
        self._known_basis: dict[str, tuple[int, tuple[float, float]]] = {}  # of the hour last asked for

    @property
    def books(self) -> Mapping[str, Book]:
        return self.exchange.books

    def asset(self, pair: str) -> int:
        """The number of a pair in actions."""
        return FIRST_ASSET + self.listings[pair].pair_index

    def pair_of(self, asset: int) -> str | None:
        """The pair of a number in actions, if there is one."""
        return next((name for name in self.listings if self.asset(name) == asset), None)

    def token_of(self, named: str) -> str | None:
        """The token of a `NAME:0xid`, if there is one; the id alone counts."""
        _, _, token_id = named.rpartition(":")
        return next((name for name, (_, known) in self.tokens.items() if known == token_id.lower()), None)

    def decimals(self, token: str) -> int:
        """How finely a token divides."""
        pairs = self.pairs.values()
        return next((pair.base.wei_decimals for pair in pairs if pair.base.name == token), USDC.wei_decimals)

    def usd_value(self, token: str, amount: Decimal) -> Decimal:
        """What an amount of a token is worth in USDC at the mark."""
        if token == USDC.name:
            return amount
        pair = next(name for name, each in self.listings.items() if each.token == token)
        return amount * self.exchange.marks[pair]

    def wallet(self, user: str) -> Wallet | None:
        return self.exchange.wallets.get(user)

    # --- prices

    def step(self, moment: Moment) -> None:
        """Bring books and marks to a moment."""
        if not self.pairs:
            return
        pairs, columns = self.pairs.values(), list(self.column.values())
        middles = np.array([self._mid(name, moment) for name in self.pairs])
        made = ladders(
            middles,
            0.5e-4 * np.maximum(1.0, 1.5 * moment.spread_bps[columns]),
            moment.volume_usd_day[columns]
            * SHARE_OF_VOLUME
            / middles
            * [each.lots_per_coin for each in pairs],
            np.array([max(0.0, SPOT_PRICE_DECIMALS - each.size_decimals) for each in pairs]),
            np.random.default_rng((self._seed, 3, moment.time_ms)),
        )
        marks = {}
        for (name, pair), middle, (bids, asks) in zip(
            self.pairs.items(), middles.tolist(), made, strict=True
        ):
            marks[name] = pair.round_price(Decimal(repr(middle)))
            self.exchange.quote_depth(name, bids, asks, moment.time_ms)
        self.exchange.set_marks(marks)

    def someone_trades(
        self, generator: np.random.Generator, time_ms: int
    ) -> list[tuple[str, Side, Decimal, int]]:
        """Others take a little here and there: from users' orders, or from each other, which is what is returned."""
        prints = []
        for name, book in self.books.items():
            if generator.random() >= 0.1:
                continue
            side = Side.BUY if generator.random() < 0.5 else Side.SELL
            outside = book.depth(-side.sign)
            if not outside:
                continue
            price, lots = outside[0]
            lots = max(1, int(lots * generator.uniform(0.02, 0.3)))
            if not self.exchange.outside_takes(name, side, lots, time_ms):
                prints.append((name, side, price, lots))
        return prints

    def _mid(self, name: str, moment: Moment) -> float:
        into = (moment.time_ms - self._market.first_ms) % HOUR_MS / HOUR_MS
        first, last = self._basis(name, self._market.hour(moment.time_ms))
        oracle = float(moment.oracle[self.column[name]]) * self.listings[name].ratio
        return oracle * (1 + first + (last - first) * into)

    def _basis(self, name: str, hour: int) -> tuple[float, float]:
        """How far the pair is from the oracle as an hour begins and as it ends, as fractions."""
        known = self._known_basis.get(name)
        if known is None or known[0] != hour:
            ends = []
            for at in (hour, hour + 1):
                dice = np.random.default_rng((self._seed, 2, self.listings[name].pair_index, at))
                bps = BASIS_BPS * dice.standard_normal()
                ends.append(float(np.clip(bps, -LARGEST_BASIS_BPS, LARGEST_BASIS_BPS)) / 1e4)
            known = self._known_basis[name] = (hour, (ends[0], ends[1]))
        return known[1]

    def _factors(self, name: str, hour: int) -> tuple[float, float]:
        """What the perpetual's candles are multiplied by as an hour begins and as it ends."""
        first, last = self._basis(name, hour)
        ratio = self.listings[name].ratio
        return (
            ratio * self._oracle_over_close(name, hour - 1) * (1 + first),
            ratio * self._oracle_over_close(name, hour) * (1 + last),
        )

    def _oracle_over_close(self, name: str, hour: int) -> float:
        """As an hour ended, or as the latest did whose end is known."""
        column, bar = self.column[name], self._market.bar(min(hour, self._market.newest))
        return float(bar["oracle"][column] / bar["close"][column])

    def bar(self, name: str, hour: int) -> tuple[float, float, float, float, float]:
        """Open, high, low and close of an hour, and its volume in USD."""
        bar, column = self._market.bar(hour), self.column[name]
        first, last = self._factors(name, hour)
        return (
            float(bar["open"][column]) * first,
            float(bar["high"][column]) * max(first, last),
            float(bar["low"][column]) * min(first, last),
            float(bar["close"][column]) * last,
            float(bar["volume_usd"][column]) * SHARE_OF_VOLUME,
        )

    def path(self, name: str, hour: int) -> FloatArray:
        """The middle through an hour, shape (STEPS + 1,)."""
        factors = np.linspace(*self._factors(name, hour), STEPS + 1)
        path: FloatArray = self._market.path(hour)[:, self.column[name]] * factors
        return path


def _universe(listings: Sequence[Listing]) -> list[dict[str, Any]]:
    return [
        {
            "tokens": [each.token_index, 0],
            "name": each.pair,
            "index": each.pair_index,
            "isCanonical": each.pair_index == 0,
        }
        for each in listings
    ]


def _tokens(listings: Mapping[str, Listing]) -> list[dict[str, Any]]:
    usdc = {
        "name": "USDC",
        "szDecimals": 8,
        "weiDecimals": 8,
        "index": 0,
        "tokenId": USDC_ID,
        "isCanonical": True,
        "evmContract": None,
        "fullName": None,
        "deployerTradingFeeShare": "0.0",
    }
    last = max((each.token_index for each in listings.values()), default=0)
    # On the venue a token stands where its number says, and there are clients that rely on it.
    rows: list[dict[str, Any]] = [usdc, *(usdc | _unlisted(index) for index in range(1, last + 1))]
    for each in listings.values():
        contract = None
        if each.evm_contract is not None:
            contract = {"address": each.evm_contract, "evm_extra_wei_decimals": each.evm_extra_decimals}
        rows[each.token_index] = usdc | {
            "name": each.token,
            "szDecimals": each.size_decimals,
            "weiDecimals": each.wei_decimals,
            "index": each.token_index,
            "tokenId": each.token_id,
            "isCanonical": each.pair_index == 0,
            "evmContract": contract,
            "fullName": each.full_name,
        }
    return rows


def _unlisted(index: int) -> dict[str, Any]:
    """A token that nothing is traded in, as most of the venue's are."""
    return {
        "name": f"UNLISTED{index}",
        "szDecimals": 2,
        "index": index,
        "tokenId": f"0x{index:032x}",
        "isCanonical": False,
    }
