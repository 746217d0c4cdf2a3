"""What the feed has brought of the market: bars of an hour that are surely finished, and the best bid and ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.model.panel import HOUR_MS
from bot.venues.hyperliquid.parse_market import Book, Candle

QUIET_MS: Final = 10_000
"""A connection keeps its order: what it has not brought this long after a bar's end will not come."""


@dataclass(frozen=True, slots=True)
class _Bar:
    candle: Candle
    connection: int


class Heard:
    """Keeps two bars and one book a coin."""

    def __init__(self) -> None:
        self._bars: dict[str, tuple[_Bar | None, _Bar]] = {}  # the last two heard
        self._books: dict[str, Book] = {}
        self._connection = self._told_ms = 0  # the newest connection, and the venue's time as far as it told

    def candle(self, bar: Candle, connection: int) -> None:
        """Keep a bar of an hour, unless it is older than those kept; a bar's volume only grows."""
        if bar.close_ms - bar.open_ms != HOUR_MS - 1:
            return
        older, newest = self._bars.get(bar.coin, (None, None))
        if newest is None or bar.open_ms > newest.candle.open_ms:
            self._bars[bar.coin] = (newest, _Bar(bar, connection))
        elif bar.open_ms == newest.candle.open_ms and bar.volume >= newest.candle.volume:
            self._bars[bar.coin] = (older, _Bar(bar, connection))

    def best(self, book: Book, connection: int) -> None:
        """Keep the best bid and ask, unless they are older than those kept."""
        kept = self._books.get(book.coin)
        if kept is None or book.time_ms >= kept.time_ms:
            self._books[book.coin] = book
        if connection > self._connection:
            self._connection, self._told_ms = connection, book.time_ms
        elif connection == self._connection:
            self._told_ms = max(self._told_ms, book.time_ms)

    def finished(self, coin: str, open_ms: int) -> Candle | None:
        """The bar that opened at `open_ms`, once nothing can be added to it.

        That is so where a bar that opens later came over the same connection, or where the connection has told of a
        moment well after the bar's end.
        """
        older, newest = self._bars.get(coin, (None, None))
        if newest is None:
            return None
        if newest.candle.open_ms == open_ms:
            ended = self._told_ms > newest.candle.close_ms + QUIET_MS
            return newest.candle if ended and newest.connection == self._connection else None
        if older is None or older.connection != newest.connection or older.candle.open_ms != open_ms:
            return None
        return older.candle

    def spread_bps(self, coin: str, time_ms: int) -> float:
        """Distance of the best ask from the best bid, basis points; NaN where no book is of the hour to `time_ms`."""
        book = self._books.get(coin)
        if book is None or not book.bids or not book.asks or book.time_ms < time_ms - HOUR_MS:
            return float("nan")
        bid, ask = book.bids[0].price, book.asks[0].price
        return float((ask - bid) / (ask + bid) * 20_000)
