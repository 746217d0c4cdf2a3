"""Before anything is traded: what the key may do, one-way mode, leverage, and whether funding is read as it is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import structlog

from bot.errors import ConfigError, DataError, Refused, Unavailable
from bot.model.instrument import Instrument
from bot.model.panel import HOUR_MS, Panel
from bot.signer.cex_client import Denied, Locked, SignerGone
from bot.venues.cex.books import Market
from bot.venues.cex.client import AsItIs, Client
from bot.venues.cex.differences import Differences
from bot.venues.cex.exchange import Signs
from bot.venues.cex.hosts import hosts_of
from bot.venues.cex.instruments import instrument_of
from bot.venues.cex.market_data import MarketData
from bot.venues.cex.terms import CexTerms
from bot.venues.cex.wire import number, price
from bot.venues.polarity import SettledRate, check_adapter
from bot.venues.venue_clock import VenueClock

log = structlog.get_logger("hedgerow")

RECENT: Final = 100  # settlements that the start looks back on


def check_whose(signs: Signs, terms: CexTerms) -> Mapping[str, Any]:
    """What the signer says of itself. ConfigError where it is another venue's or network's, Unavailable where it is silent."""
    try:
        status = signs.status()
    except (Denied, Locked, SignerGone) as error:
        raise Unavailable(str(error)) from None
    found = status.get("venue"), status.get("network")
    if found != (terms.venue, terms.network):
        raise ConfigError(
            f"the signer is for {found[0]} {found[1]}, the config asks for {terms.venue} {terms.network}; "
            "start the signer with the policy of this venue"
        )
    return status


def check_signer(signs: Signs, terms: CexTerms, markets: Sequence[Market]) -> None:
    """As `check_whose`, and ConfigError where its policy lacks a contract."""
    known = check_whose(signs, terms).get("assets") or {}
    missing = [market.market_id for market in markets if market.market_id not in known]
    if missing:
        raise ConfigError(
            f"the signer's policy has no {', '.join(missing)}; add them to it, or leave the coins out"
        )


async def find_markets(client: Client, terms: CexTerms, differences: Differences) -> tuple[Market, ...]:
    """The contracts to trade. ConfigError names the first that there is none of, or that can't be traded, and why."""
    await client.ask("load_markets")
    tiers = await client.ask("fetch_leverage_tiers") if differences.tiers_of_all else {}
    found = []
    for coin in terms.coins:
        symbol = f"{coin}/{terms.settle}:{terms.settle}"
        market = client.markets.get(symbol)
        if market is None:
            raise ConfigError(f"{terms.venue} lists no perpetual {symbol}; check the coin's name there")
        rows = tiers.get(symbol)
        if rows is None:
            rows = await client.ask("fetch_market_leverage_tiers", symbol)
        if differences.tiers_in_contracts:
            rows = await _in_dollars(client, symbol, rows, market)
        try:
            instrument: Instrument = instrument_of(terms.venue, market, rows)
            contract = price(market.get("contractSize"), f"{symbol}: the contract's size")
        except DataError as error:
            raise ConfigError(str(error)) from None
        found.append(Market(instrument, symbol, str(market["id"]), contract))
    return tuple(found)


async def _in_dollars(
    client: Client, symbol: str, rows: Sequence[Mapping[str, Any]], market: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Tiers whose bounds are told in contracts, at the price of today."""
    ticker = await client.ask("fetch_ticker", symbol)
    worth = price(ticker.get("last"), f"{symbol}: the last price") * price(
        market.get("contractSize"), f"{symbol}: the contract's size"
    )
    return [
        {**row, "minNotional": str(number(row.get("minNotional") or "0", f"{symbol}: a tier") * worth)}
        for row in rows
    ]


async def whose_account(client: Client, differences: Differences) -> str:
    """The venue's own name for the account, the same under every key of it."""
    method, name_in = differences.account
    reply = await client.ask(method)
    try:
        return str(name_in(reply))
    except (KeyError, IndexError, TypeError):
        raise Unavailable("whose account it is could not be read; asking again later") from None


async def check_key(client: Client, terms: CexTerms, differences: Differences) -> None:
    """ConfigError where the key may withdraw; a warning where the venue can't be asked."""
    if differences.can_withdraw is None or terms.network == "devnet":
        log.warning("the venue can't be asked what the key may do", venue=terms.venue,
                    advice="see to it that withdrawals are off, and that it is bound to this address")  # fmt: skip
        return
    reply: Any = await client.ask(differences.permissions)
    try:
        may = differences.can_withdraw(reply)
    except (KeyError, IndexError, TypeError):
        raise Unavailable("what the key may do could not be read; asking again later") from None
    if may:
        raise ConfigError(f"the API key of {terms.venue} may withdraw; make one that can only trade")


async def one_way(client: Client, terms: CexTerms, differences: Differences) -> None:
    """Switch the account to positions of one side. ConfigError where that can't be, or money of several kinds backs them."""
    if differences.many_assets is not None:
        reply = await client.ask(differences.many_assets)
        if reply.get("multiAssetsMargin") is not False:
            raise ConfigError(
                f"the account at {terms.venue} is in multi-assets mode; switch it to single-asset mode, since only "
                f"{terms.settle} is counted here"
            )
    try:
        told = await client.ask("fetch_position_mode")
        if told.get("hedged") is False:
            return
    except Refused:
        log.info("the venue does not tell the position mode; it is set")
    try:
        await client.ask("set_position_mode", False)
    except Refused as error:
        raise ConfigError(
            f"{terms.venue} could not be switched to one-way mode ({error}); close all positions and orders first"
        ) from None


async def check_funding(
    client: Client,
    terms: CexTerms,
    differences: Differences,
    panel: Panel,
    market: MarketData,
    markets: Sequence[Market],
) -> int:
    """Hold the panel's funding against the venue's record in its own words; how many settlements agree. DataError where not.

    The library and the adapter have both read the panel; the record is what the wire said.
    """
    rows = []
    for column, each in enumerate(markets):
        name = each.instrument.name
        told = await client.ask("fetch_funding_rate_history", each.symbol, panel.grid.start_ms, RECENT)
        raw = sorted((int(row["timestamp"]), float(row["info"][differences.settled_rate])) for row in told)
        rates, hours = panel.fields["funding_rate"][:, column], panel.fields["funding_interval_h"][:, column]
        with np.errstate(invalid="ignore"):
            premium = panel.fields["mark"][:, column] / panel.fields["oracle"][:, column] - 1
        for (before_ms, _), (time_ms, rate) in pairwise(raw):
            gap_h = round((time_ms - before_ms) / HOUR_MS)
            row = panel.grid.row(round(time_ms / HOUR_MS) * HOUR_MS)
            if not gap_h <= row < panel.rows or not np.isfinite(rates[row]):
                continue
            seen = float(np.mean(premium[row - gap_h : row]))
            rows.append(
                SettledRate(
                    rate, gap_h, float(rates[row]), float(hours[row]), seen if np.isfinite(seen) else None
                )
            )
        last, told_h = next(reversed(market.settlements(name)), None), market.intervals_h.get(name)
        if last is not None and last.interval_h not in {None, told_h}:
            log.warning("the funding interval is not that of the last settlement", coin=name, told_h=told_h,
                        last_h=last.interval_h)  # fmt: skip
    return check_adapter(terms.venue, rows)


async def set_leverage(
    client: Client, terms: CexTerms, differences: Differences, market: Market, leverage: int
) -> None:
    """One contract's margin mode and leverage. Refused or Unavailable where that can't be."""
    mode = terms.margin_mode.value
    params = {"marginMode": mode} if differences.margin_mode_of == "order" else {}
    try:
        if differences.margin_mode_of == "market":
            await client.ask("set_margin_mode", mode, market.symbol)
        elif differences.margin_mode_of == "account":
            await client.ask("set_margin_mode", mode)
    except AsItIs:
        log.debug("margin mode as it is", coin=market.instrument.name)
    with contextlib.suppress(AsItIs):
        await client.ask("set_leverage", leverage, market.symbol, params)


async def reached(clock: VenueClock, terms: CexTerms, exchange: Any) -> None:
    """Ask the exchange's time. Unavailable, with the host that was asked, where it does not tell."""
    try:
        await clock.look()
    except Unavailable as error:
        host = urlsplit(exchange.last_request_url or "").hostname or ", ".join(hosts_of(exchange))
        why = str(error).partition(";")[0]
        raise Unavailable(
            f"{terms.venue} can't be reached at {host}: {why[:1].lower()}{why[1:]}; check the network, and whether the exchange "
            "is up"
        ) from None
