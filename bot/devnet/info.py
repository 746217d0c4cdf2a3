"""POST /info about the market: what is listed, books, prices, candles, funding."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from bot.devnet import listing, universe
from bot.devnet.candles import INTERVALS, candles
from bot.devnet.info_neutral import NEUTRAL
from bot.devnet.info_spot import SPOT
from bot.devnet.records import Json
from bot.devnet.wire import Fields, Malformed, number_text, text
from bot.devnet.world import World
from bot.model.panel import HOUR_MS

SHOWN_LEVELS: Final = 20
MOST_ROWS: Final = 500
_IMPACT_USD: Final = {"BTC": 20_000, "ETH": 20_000}


def main_dex(fields: Fields) -> None:
    """There is one dex, the main one, whose name is empty. Malformed for another."""
    if fields.optional_string("dex"):
        raise Malformed


def meta(world: World, fields: Fields) -> Any:
    """The universe and its margin tables."""
    main_dex(fields)
    return world.meta


def contexts(world: World) -> list[Json]:
    """Each perpetual's context, in the order of the universe."""
    return [context(world, name) for name in world.names]


def context(world: World, name: str) -> Json:
    """One perpetual's prices, funding and activity."""
    moment, i = world.moment, world.column[name]
    instrument, market = world.instruments[name], world.market
    hour = market.hour(world.now_ms)
    day_before = market.bar(hour - 23)["open"][i]
    volume, mid = float(moment.volume_usd_day[i]), float(moment.mid[i])
    bid, ask = listing.touch(world, name)
    impact = None
    if bid is not None and ask is not None:
        impact = [text(_impact(world, name, 1) or bid), text(_impact(world, name, -1) or ask)]
    return {
        "funding": number_text(moment.funding[i], 10),
        "openInterest": number_text(moment.open_interest[i], instrument.size_decimals),
        "prevDayPx": text(instrument.round_price(Decimal(repr(float(day_before))))),
        "dayNtlVlm": number_text(volume, 6),
        "premium": number_text(moment.premium[i], 10),
        "oraclePx": text(world.oracle(name)),
        "markPx": text(world.exchange.marks[name]),
        "midPx": None if bid is None or ask is None else text((bid + ask) / 2),
        "impactPxs": impact,
        "dayBaseVlm": number_text(volume / mid, instrument.size_decimals),
    }


def _impact(world: World, name: str, sign: int) -> Decimal | None:
    """Average price at which the impact notional could be sold (1) or bought (−1) now."""
    left, cost, lots = Decimal(_IMPACT_USD.get(name, 6000)), Decimal(0), Decimal(0)
    unit = world.instruments[name].lot
    for price, size in world.exchange.books[name].depth(sign):
        part = min(left, size * unit * price)
        cost, lots, left = cost + part, lots + part / price, left - part
        if not left:
            return world.instruments[name].round_price(cost / lots)
    return None


def levels(world: World, name: str, most: int = SHOWN_LEVELS) -> tuple[list[Json], list[Json]]:
    """Bids and asks, best first, users' orders and the outside market's together."""
    book, unit = listing.book_of(world, name), listing.grid_of(world, name).lot
    sides = []
    for sign in (1, -1):
        merged: dict[Decimal, list[int]] = {}
        for price, lots in book.depth(sign)[: most + 1]:
            merged[price] = [lots, 1]
        for live in book.resting(sign):
            assert live.price is not None
            row = merged.setdefault(live.price, [0, 0])
            row[0] += live.remaining
            row[1] += 1
        best = sorted(merged, reverse=sign > 0)[:most]
        sides.append([{"px": text(p), "sz": text(merged[p][0] * unit), "n": merged[p][1]} for p in best])
    return sides[0], sides[1]


def l2_book(world: World, fields: Fields) -> Any:
    """A book as `l2Book` asks for it."""
    return book_of(world, fields.string("coin"), *book_detail(fields))


def book_detail(fields: Fields) -> tuple[int | None, int | None]:
    """Significant figures and mantissa of a book's prices. Malformed if there are none such."""
    figures, mantissa = fields.optional_integer("nSigFigs"), fields.optional_integer("mantissa")
    if figures is not None and not 2 <= figures <= 5:
        raise Malformed
    if mantissa is not None and (figures != 5 or mantissa not in {1, 2, 5}):
        raise Malformed
    return figures, mantissa


def book_of(world: World, coin: str, figures: int | None = None, mantissa: int | None = None) -> Json | None:
    """A book's best twenty levels a side, or wider ones of so many significant figures; None where there is none."""
    if not listing.is_listed(world, coin):
        return None
    time_ms = world.market.book_ms(world.now_ms)
    if figures is None:
        return {"coin": coin, "time": time_ms, "levels": list(levels(world, coin))}
    sides = []
    for side, rounding in zip(levels(world, coin, 100), (ROUND_FLOOR, ROUND_CEILING), strict=True):
        merged: dict[Decimal, list[Decimal]] = {}
        for level in side:
            price = Decimal(level["px"])
            unit = Decimal(1).scaleb(price.adjusted() - figures + 1) * (mantissa or 1)
            row = merged.setdefault(
                (price / unit).to_integral_value(rounding) * unit, [Decimal(0), Decimal(0)]
            )
            row[0] += Decimal(level["sz"])
            row[1] += level["n"]
        sides.append(
            [
                {"px": text(p), "sz": text(row[0]), "n": int(row[1])}
                for p, row in list(merged.items())[:SHOWN_LEVELS]
            ]
        )
    return {"coin": coin, "time": time_ms, "levels": sides}


def mids(world: World) -> dict[str, str]:
    """Middle of the book of each coin and spot pair."""
    shown = {}
    for name in (*world.names, *world.spot.pairs):
        known = [price for price in listing.touch(world, name) if price is not None]
        shown[name] = text(sum(known, Decimal(0)) / len(known) if known else listing.mark_of(world, name))
    return shown


def all_mids(world: World, fields: Fields) -> Any:
    """Middle of every book."""
    main_dex(fields)
    return mids(world)


def meta_and_contexts(world: World, fields: Fields) -> Any:
    """The universe, and the contexts in its order."""
    main_dex(fields)
    return [world.meta, contexts(world)]


def candle_snapshot(world: World, fields: Fields) -> Any:
    """Candles of one coin and interval."""
    req = fields.inner("req")
    coin, interval, start_ms = req.string("coin"), req.string("interval"), req.integer("startTime")
    end_ms = req.optional_integer("endTime")
    if interval not in INTERVALS:
        raise Malformed
    if not listing.is_listed(world, coin) or start_ms > world.now_ms:
        return []
    return candles(world, coin, interval, start_ms, world.now_ms if end_ms is None else end_ms)


def funding_history(world: World, fields: Fields) -> Any:
    """Settled rates of one coin, oldest first."""
    coin, start_ms = fields.string("coin"), fields.integer("startTime")
    end_ms = fields.optional_integer("endTime")
    if coin not in world.instruments:
        return None
    i, market = world.column[coin], world.market
    rows: list[Json] = []
    last = min(world.now_ms, end_ms if end_ms is not None else world.now_ms)
    hour = max(market.oldest, market.hour(start_ms) - 1)
    while len(rows) < MOST_ROWS:
        time_ms = market.first_ms + (hour + 1) * HOUR_MS
        if time_ms > last:
            break
        if time_ms >= start_ms:
            rates, premiums, _ = market.settled(hour)
            rows.append(
                {
                    "coin": coin,
                    "fundingRate": number_text(rates[i], 10),
                    "premium": number_text(premiums[i], 10),
                    "time": time_ms,
                }
            )
        hour += 1
    return rows


def predicted_fundings(world: World, fields: Fields) -> Any:  # noqa: ARG001
    """What the running hour would settle at; nothing is known of other venues."""
    next_ms = (world.now_ms // HOUR_MS + 1) * HOUR_MS
    return [
        [
            name,
            [
                ["BinPerp", None],
                [
                    "HlPerp",
                    {
                        "fundingRate": number_text(world.moment.funding[i], 10),
                        "nextFundingTime": next_ms,
                        "fundingIntervalHours": 1,
                    },
                ],
                ["BybitPerp", None],
            ],
        ]
        for i, name in enumerate(world.names)
    ]


def recent_trades(world: World, fields: Fields) -> Any:
    """The tape, newest first."""
    tape = world.tape.get(fields.string("coin"))
    return None if tape is None else list(tape)[:-101:-1]


def margin_table(world: World, fields: Fields) -> Any:
    """One margin table."""
    return universe.margin_table(world.meta, fields.integer("id"))


def max_market_order_notionals(world: World, fields: Fields) -> Any:  # noqa: ARG001
    """Largest market order by maximum leverage."""
    return [[3, "500000.0"], [10, "2000000.0"], [20, "5000000.0"], [25, "30000000.0"]]


def exchange_status(world: World, fields: Fields) -> Any:  # noqa: ARG001
    """The exchange's clock."""
    return {"time": world.now_ms, "specialStatuses": None}


MARKET: Final[dict[str, Callable[[World, Fields], Any]]] = {
    "meta": meta,
    "allPerpMetas": lambda world, _: [world.meta],
    "metaAndAssetCtxs": meta_and_contexts,
    "allMids": all_mids,
    "l2Book": l2_book,
    "recentTrades": recent_trades,
    "candleSnapshot": candle_snapshot,
    "fundingHistory": funding_history,
    "predictedFundings": predicted_fundings,
    "marginTable": margin_table,
    "maxMarketOrderNtls": max_market_order_notionals,
    "exchangeStatus": exchange_status,
    **SPOT,
    **NEUTRAL,
}
