"""`meta` and `spotMeta` replies: what can be traded, on which grid, with which margin tiers, under which number.

Names and their places are read strictly, since the numbers of all coins hang on them. What else is said of a coin may be
of a kind that nobody knew of when it was listed: such a coin is unread, and only whoever trades it has to mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.errors import ConfigError, DataError
from bot.model.instrument import Instrument, MarginTier, spot_instrument, underlying_of
from bot.model.money import ZERO
from bot.venues.hyperliquid.wire import Node

FIRST_TIERED_TABLE: Final = 50
"""A margin table id below this is no table: it is the leverage of a single tier."""

HIGHEST_LEVERAGE: Final = 200
ISOLATED_MODES: Final = ("strictIsolated", "noCross")
FIRST_SPOT_ASSET: Final = 10_000
FIRST_DEX_ASSET: Final = 100_000
USDC_TOKEN: Final = 0


@dataclass(frozen=True, slots=True)
class Universe:
    """A `meta` reply: every perpetual of one dex in order; an asset's number is its place among the `names`.

    `instruments` are those that can be read, `unread` says why the others can't be.
    """

    names: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    unread: Mapping[str, str] = field(default_factory=dict)
    collateral_token: int = 0

    def place(self, coin: str) -> int:
        """The number of a coin in actions. ConfigError where the venue does not list it."""
        if coin in self.names:
            return self.names.index(coin)
        raise ConfigError(
            f"the venue lists no perpetual {coin!r}; it lists {', '.join(i.name for i in self.instruments[:8])}, …"
        )

    def instrument(self, coin: str) -> Instrument:
        """A coin. ConfigError where the venue does not list it, DataError where it can't be read."""
        self.place(coin)
        if coin in self.unread:
            raise DataError(self.unread[coin])
        return next(each for each in self.instruments if each.name == coin)

    def wire(self, coin: str) -> str:
        """What a coin is called on the wire: the same."""
        return coin


@dataclass(frozen=True, slots=True)
class Token:
    """A spot token: quantities are multiples of `10 ** -size_decimals`."""

    name: str
    index: int
    size_decimals: int
    wei_decimals: int
    token_id: str


@dataclass(frozen=True, slots=True)
class SpotPair:
    """A spot market by its opaque name (`@142`); `asset` is its number in actions."""

    name: str
    asset: int
    base: Token
    quote: Token

    @property
    def title(self) -> str:
        """What people call it: UBTC/USDC."""
        return f"{self.base.name}/{self.quote.name}"

    @property
    def about(self) -> str:
        """What it is about, by the tokens that are known to stand for another: BTC/USDC."""
        return f"{self.instrument.underlying}/{self.quote.name}"

    @property
    def instrument(self) -> Instrument:
        """What is traded there, by its title. Sizes are of the base token; prices follow from its decimals."""
        return spot_instrument(self.title, self.base.size_decimals, self.base.name)


@dataclass(frozen=True, slots=True)
class SpotUniverse:
    """A `spotMeta` reply. `skipped` names the pairs whose tokens the reply does not hold."""

    tokens: Mapping[int, Token]
    pairs: tuple[SpotPair, ...]
    skipped: tuple[str, ...] = ()

    def pair(self, wanted: str) -> SpotPair:
        """A market by its own name, by its title, or by its underlying and quote (BTC/USDC is UBTC/USDC).

        ConfigError where none answers to that name, or more than one: anybody may list a token by a known name, and a
        token PUMP is not the coin that the perpetual PUMP is about.
        """
        found = [pair for pair in self.pairs if wanted in {pair.name, pair.title, pair.about}]
        if not found:
            raise ConfigError(
                f"the venue lists no spot market {wanted!r}; write it as TOKEN/QUOTE or as @INDEX"
            )
        if len(found) > 1:
            named = ", ".join(f"{pair.name} ({pair.title})" for pair in found)
            raise ConfigError(f"{wanted!r} may be {named}; write the one that is meant as @INDEX")
        return found[0]

    def traded(self, title: str) -> SpotPair:
        """The market that orders may name: by its very title, against the venue's own USDC, and the only one so called.

        Stricter than `pair`, since money hangs on it. ConfigError where there is no such market, or more than one.
        """
        found = [pair for pair in self.pairs if pair.title == title and pair.quote.index == USDC_TOKEN]
        if len(found) == 1:
            return found[0]
        if not found:
            raise ConfigError(
                f"the venue lists no spot market {title!r} against USDC; write it as TOKEN/USDC"
            )
        named = ", ".join(pair.name for pair in found)
        raise ConfigError(
            f"{title!r} is the title of {named}; which of them is meant can't be told, so none is traded"
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """Perpetuals and spot markets together, for whoever trades both; as `Universe`."""

    perps: Universe
    spot: SpotUniverse

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The perpetuals, which alone may be delisted."""
        return self.perps.instruments

    def place(self, name: str) -> int:
        """The number of a coin or a pair in actions. ConfigError where the venue does not list it."""
        return self.spot.traded(name).asset if is_pair(name) else self.perps.place(name)

    def instrument(self, name: str) -> Instrument:
        """A coin or a pair. ConfigError where the venue does not list it, DataError where it can't be read."""
        return self.spot.traded(name).instrument if is_pair(name) else self.perps.instrument(name)

    def wire(self, name: str) -> str:
        """What it is called on the wire: a pair by its number, such as @142. ConfigError as `place`."""
        return self.spot.traded(name).name if is_pair(name) else name


def is_pair(name: str) -> bool:
    """Whether a name is that of a spot market: UBTC/USDC."""
    return "/" in name


def universe(node: Node) -> Universe:
    """A `meta` reply. DataError names the field that can't be right where it is not that of one coin."""
    listed = node.maybe("marginTables")
    tables = _tables(listed) if listed is not None else {}
    instruments: list[Instrument] = []
    names: dict[str, None] = {}
    unread: dict[str, str] = {}
    for each in node["universe"].items():
        name = each["name"].text()
        if name in names:
            each.refuse(f"lists {name[:64]!r} a second time")
        names[name] = None
        try:
            instruments.append(_instrument(each, tables))
        except DataError as error:
            unread[name] = str(error)
    if not names:
        node["universe"].refuse("is empty")
    collateral = node.maybe("collateralToken")
    token = 0 if collateral is None else collateral.whole(0, 10**9)
    return Universe(tuple(names), tuple(instruments), unread, token)


def _tables(node: Node) -> dict[int, tuple[MarginTier, ...] | str]:
    """Margin tables by number; for one that can't be read, why not, which is for the coins that refer to it."""
    tables: dict[int, tuple[MarginTier, ...] | str] = {}
    for entry in node.items():
        try:
            number, table = entry.pair()
            key = number.whole(0, 10**6)
        except DataError:
            continue  # no coin can refer to it
        try:
            if key in tables:
                entry.refuse(f"lists margin table {key} a second time")
            tables[key] = tiers(table)
        except DataError as error:
            tables[key] = str(error)
    return tables


def tiers(table: Node) -> tuple[MarginTier, ...]:
    """A margin table: bounds from 0 upwards, leverage downwards."""
    rows = tuple(
        MarginTier(each["lowerBound"].amount(), each["maxLeverage"].whole(1, HIGHEST_LEVERAGE))
        for each in table["marginTiers"].items()
    )
    bounds, leverages = [row.lower_bound_usd for row in rows], [row.max_leverage for row in rows]
    if not rows or bounds[0] != 0:
        table.refuse("does not begin at a lower bound of 0")
    if bounds != sorted(set(bounds)) or leverages != sorted(leverages, reverse=True):
        table.refuse("does not rise in bound and fall in leverage")
    return rows


def _instrument(each: Node, tables: Mapping[int, tuple[MarginTier, ...] | str]) -> Instrument:
    coin = each["name"].name()
    leverage = each["maxLeverage"].whole(1, HIGHEST_LEVERAGE)
    table = each.maybe("marginTableId")
    number = None if table is None else table.whole(0, 10**6)
    if number is None or number < FIRST_TIERED_TABLE:
        if number is not None and number != leverage:
            each.refuse(
                f"has margin table {number}, which means leverage {number}, and maxLeverage {leverage}"
            )
        rows: Sequence[MarginTier] = (MarginTier(ZERO, leverage),)
    elif number in tables:
        found = tables[number]
        if isinstance(found, str):
            raise DataError(found)
        rows = found
        if rows[0].max_leverage != leverage:
            each.refuse(f"has maxLeverage {leverage} where its margin table begins at {rows[0].max_leverage}")
    else:
        each.refuse(f"refers to margin table {number}, which the reply does not hold")
    mode = each.maybe("marginMode")
    only, gone = each.maybe("onlyIsolated"), each.maybe("isDelisted")
    return Instrument(
        name=coin,
        size_decimals=each["szDecimals"].whole(0, 8),
        tiers=tuple(rows),
        only_isolated=(only is not None and only.flag())
        or (mode is not None and mode.text() in ISOLATED_MODES),
        is_delisted=gone is not None and gone.flag(),
        multiplier=underlying_of(coin)[1],
    )


def spot_universe(node: Node) -> SpotUniverse:
    """A `spotMeta` reply. Token numbers are sparse, and a pair may name a token that is not there for a while."""
    tokens: dict[int, Token] = {}
    for each in node["tokens"].items():
        token = Token(
            each["name"].text(),
            each["index"].whole(0, 10**9),
            each["szDecimals"].whole(0, 8),
            each["weiDecimals"].whole(0, 36),
            each["tokenId"].hash(),
        )
        if token.index in tokens:
            each.refuse(f"lists token {token.index} a second time")
        tokens[token.index] = token
    pairs: dict[str, SpotPair] = {}
    skipped: list[str] = []
    numbers: set[int] = set()
    for each in node["universe"].items():
        name = each["name"].name()
        if name in pairs or name in skipped:
            each.refuse(f"lists {name!r} a second time")
        index = each["index"].whole(0, FIRST_DEX_ASSET - FIRST_SPOT_ASSET - 1)
        if index in numbers:
            each["index"].refuse(f"is that of another pair ({index})")
        numbers.add(index)
        base, quote = (side.whole(0, 10**9) for side in each["tokens"].pair())
        if base not in tokens or quote not in tokens:
            skipped.append(name)
            continue
        pairs[name] = SpotPair(name, FIRST_SPOT_ASSET + index, tokens[base], tokens[quote])
    return SpotUniverse(tokens, tuple(pairs.values()), tuple(skipped))


def dex_names(node: Node) -> tuple[str, ...]:
    """A `perpDexs` reply: names in order, the main dex being the empty one."""
    names: list[str] = []
    for each in node.items():
        name = "" if each.is_null else each["name"].name()
        if name in names:
            each.refuse(f"lists dex {name!r} a second time")
        names.append(name)
    if not names or names[0]:
        node.refuse("does not begin with the main dex")
    return tuple(names)
