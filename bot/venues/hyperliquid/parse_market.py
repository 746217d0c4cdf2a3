"""Market data replies and frames: contexts, funding, candles, books and trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from bot.errors import DataError
from bot.model.money import ZERO
from bot.model.order import Side
from bot.venues.hyperliquid.parse_meta import SpotUniverse, Universe, spot_universe, universe
from bot.venues.hyperliquid.wire import Node

LARGEST_RATE: Final = Decimal("0.5")  # no venue settles more than half of notional at once
LARGEST_PREMIUM: Final = Decimal(10)
OWN_VENUE: Final = "HlPerp"  # as predictions name it
INTERVALS_MS: Final[Mapping[str, int]] = {
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
    "2h": 7_200_000, "4h": 14_400_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """One perpetual's state now. `funding` is the hourly rate being accumulated; open interest in coins."""

    funding: Decimal
    open_interest: Decimal
    oracle: Decimal
    mark: Decimal
    mid: Decimal | None
    premium: Decimal | None


@dataclass(frozen=True, slots=True)
class SpotContext:
    """One spot market's state now; None for a price that nobody has made yet."""

    mark: Decimal | None
    mid: Decimal | None


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar: opened at `open_ms`, volume in coins."""

    coin: str
    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """A funding rate that was settled (fraction per hour) and the average premium it came from."""

    coin: str
    time_ms: int
    rate: Decimal
    premium: Decimal | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The venue's estimate of its next settlement; `interval_h` None where it does not say."""

    rate: Decimal
    next_ms: int
    interval_h: int | None


@dataclass(frozen=True, slots=True)
class Level:
    """Price, size in coins."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Bids and asks, best first."""

    coin: str
    time_ms: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    def depth_usd(self, within: Decimal = Decimal("0.005")) -> Decimal | None:
        """USD that rest within a fraction of the mid, on the thinner side; None where a side is empty, so no mid is.

        The venue tells twenty levels a side, so of a book with finer steps this is the least that rests there.
        """
        if not self.bids or not self.asks:
            return None
        mid = (self.bids[0].price + self.asks[0].price) / 2
        sides = (
            sum((each.price * each.size for each in side if abs(each.price - mid) <= within * mid), ZERO)
            for side in (self.bids, self.asks)
        )
        return min(sides)


@dataclass(frozen=True, slots=True)
class Trade:
    """One print; `side` is the aggressor's."""

    coin: str
    time_ms: int
    side: Side
    price: Decimal
    size: Decimal
    trade_id: int


def contexts(node: Node) -> tuple[Universe, tuple[Context | str, ...]]:
    """A `metaAndAssetCtxs` reply; contexts are joined by place, so their number must be the universe's.

    In the place of one that can't be read it stands why not.
    """
    meta, listed = node.pair()
    known = universe(meta)
    found = tuple(map(context_or_why, listed.items()))
    if len(found) != len(known.names):
        listed.refuse(f"has {len(found)} contexts for {len(known.names)} coins")
    return known, found


def context_or_why(node: Node) -> Context | str:
    """One perpetual's context, or why it can't be read."""
    try:
        return context(node)
    except DataError as error:
        return str(error)


def context(node: Node) -> Context:
    """One perpetual's context."""
    mid, premium = node.maybe("midPx"), node.maybe("premium")
    return Context(
        funding=node["funding"].number(LARGEST_RATE),
        open_interest=node["openInterest"].amount(),
        oracle=node["oraclePx"].price(),
        mark=node["markPx"].price(),
        mid=None if mid is None else mid.price(),
        premium=None if premium is None else premium.number(LARGEST_PREMIUM),
    )


def spot_contexts(node: Node) -> tuple[SpotUniverse, dict[str, SpotContext]]:
    """A `spotMetaAndAssetCtxs` reply; contexts are joined by name, since their places need not match."""
    meta, listed = node.pair()
    known = spot_universe(meta)
    found: dict[str, SpotContext] = {}
    for each in listed.items():
        coin = each["coin"].name()
        if coin in found:
            each["coin"].refuse(f"stands twice ({coin!r})")
        mark, mid = each["markPx"], each.maybe("midPx")
        found[coin] = SpotContext(
            mark.price() if mark.amount() else None, None if mid is None else mid.price()
        )
    missing = [pair.name for pair in known.pairs if pair.name not in found]
    if missing:
        listed.refuse(f"has no context for {', '.join(missing[:3])}")
    return known, found


def contexts_by_dex(node: Node) -> dict[str, tuple[Context, ...]]:
    """An `allDexsAssetCtxs` frame's data: contexts by dex, in each dex's order."""
    by_dex: dict[str, tuple[Context, ...]] = {}
    for entry in node["ctxs"].items():
        dex, listed = entry.pair()
        name = dex.text()
        if name in by_dex:
            entry.refuse(f"lists dex {name!r} a second time")
        by_dex[name] = tuple(context(each) for each in listed.items())
    return by_dex


def mids(node: Node) -> dict[str, Decimal]:
    """Mid prices by coin."""
    return {Node(coin, f"{node.path} key").name(): node[coin].price() for coin in node.keys()}  # noqa: SIM118


def candles(node: Node, coin: str, interval: str) -> tuple[Candle, ...]:
    """A `candleSnapshot` reply, in order; a bar that repeats or goes back in time is refused."""
    found: list[Candle] = []
    for each in node.items():
        bar = candle(each, interval)
        if bar.coin != coin:
            each["s"].refuse(f"should be {coin!r}, was {bar.coin!r}")
        if found and bar.open_ms <= found[-1].open_ms:
            each["t"].refuse(f"does not follow the bar before it ({bar.open_ms} after {found[-1].open_ms})")
        found.append(bar)
    return tuple(found)


def candle(node: Node, interval: str) -> Candle:
    """One candle of `interval`."""
    if (said := node["i"].text()) != interval:
        node["i"].refuse(f"should be {interval!r}, was {said!r}")
    bar = Candle(
        coin=node["s"].name(),
        open_ms=node["t"].time_ms(),
        close_ms=node["T"].time_ms(),
        open=node["o"].price(),
        high=node["h"].price(),
        low=node["l"].price(),
        close=node["c"].price(),
        volume=node["v"].amount(),
    )
    length_ms = INTERVALS_MS.get(interval)
    if length_ms is not None and (bar.open_ms % length_ms or bar.close_ms != bar.open_ms + length_ms - 1):
        node["t"].refuse(f"to T ({bar.open_ms} to {bar.close_ms}) is not one bar of {interval}")
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        node.refuse("has an open or a close outside its low and high")
    return bar


def settlements(node: Node, coin: str) -> tuple[Settlement, ...]:
    """A `fundingHistory` reply, in order."""
    found: list[Settlement] = []
    for each in node.items():
        if (said := each["coin"].name()) != coin:
            each["coin"].refuse(f"should be {coin!r}, was {said!r}")
        premium = each.maybe("premium")
        row = Settlement(
            coin,
            each["time"].time_ms(),
            each["fundingRate"].number(LARGEST_RATE),
            None if premium is None else premium.number(LARGEST_PREMIUM),
        )
        if found and row.time_ms <= found[-1].time_ms:
            each["time"].refuse(
                f"does not follow the row before it ({row.time_ms} after {found[-1].time_ms})"
            )
        found.append(row)
    return tuple(found)


def predictions(node: Node) -> dict[str, Prediction | str]:
    """A `predictedFundings` reply: the venue's own by coin; a coin of which it predicts nothing is left out.

    In the place of one that can't be read it stands why not. What other venues are said to predict is not read.
    """
    by_coin: dict[str, Prediction | str] = {}
    seen: set[str] = set()
    for entry in node.items():
        name, listed = entry.pair()
        coin = name.text()
        if coin in seen:
            entry.refuse(f"lists {coin[:64]!r} a second time")
        seen.add(coin)
        try:
            found = _prediction(listed)
        except DataError as error:
            by_coin[coin] = str(error)
        else:
            if found is not None:
                by_coin[coin] = found
    return by_coin


def _prediction(listed: Node) -> Prediction | None:
    found: Prediction | None = None
    for told in listed.items():
        whose, said = told.pair()
        if whose.value != OWN_VENUE or said.is_null:
            continue
        if found is not None:
            told.refuse(f"lists {OWN_VENUE!r} a second time")
        hours = said.maybe("fundingIntervalHours")
        found = Prediction(
            said["fundingRate"].number(LARGEST_RATE),
            said["nextFundingTime"].time_ms(),
            None if hours is None else hours.whole(1, 24),
        )
    return found


def book(node: Node) -> Book:
    """An `l2Book` reply or frame; each side must get worse from level to level, and the sides must not cross."""
    bids, asks = (
        tuple(_levels(side, sign)) for side, sign in zip(node["levels"].pair(), (-1, 1), strict=True)
    )
    if bids and asks and bids[0].price >= asks[0].price:
        node["levels"].refuse(f"cross: bid {bids[0].price} and ask {asks[0].price}")
    return Book(node["coin"].name(), node["time"].time_ms(), bids, asks)


def _levels(side: Node, sign: int) -> list[Level]:
    found: list[Level] = []
    for each in side.items():
        level = _level(each)
        if found and sign * (level.price - found[-1].price) <= 0:
            each["px"].refuse(
                f"is not worse than the level before it ({level.price} after {found[-1].price})"
            )
        found.append(level)
    return found


def _level(node: Node) -> Level:
    size = node["sz"].amount()
    if size == 0:
        node["sz"].refuse("is 0, which is no level")
    return Level(node["px"].price(), size)


def best(node: Node) -> Book:
    """A `bbo` frame's data as a book of at most one level a side."""
    bid, ask = node["bbo"].pair()
    bids = () if bid.is_null else (_level(bid),)
    asks = () if ask.is_null else (_level(ask),)
    if bids and asks and bids[0].price >= asks[0].price:
        node["bbo"].refuse(f"cross: bid {bids[0].price} and ask {asks[0].price}")
    return Book(node["coin"].name(), node["time"].time_ms(), bids, asks)


def trades(node: Node) -> tuple[Trade, ...]:
    """Prints in the order given; one that stands twice is refused."""
    found: list[Trade] = []
    seen: set[tuple[int, str, int]] = set()
    for each in node.items():
        trade = Trade(
            each["coin"].name(),
            each["time"].time_ms(),
            side(each["side"]),
            each["px"].price(),
            each["sz"].amount(),
            each["tid"].whole(),
        )
        if (key := (trade.time_ms, trade.coin, trade.trade_id)) in seen:
            each["tid"].refuse(f"stands twice ({trade.trade_id})")
        seen.add(key)
        found.append(trade)
    return tuple(found)


def side(node: Node) -> Side:
    """B buys, A sells."""
    return Side.BUY if node.choice("A", "B") == "B" else Side.SELL


def server_time(node: Node) -> int:
    """An `exchangeStatus` reply: the venue's clock, ms."""
    return node["time"].time_ms()
