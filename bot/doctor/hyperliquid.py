"""A Hyperliquid account: by the checks of a daemon's start."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bot.clock import WallClock
from bot.doctor.accounts import Account
from bot.doctor.finding import Finding, failed, ok, warning
from bot.doctor.times import offset
from bot.errors import ConfigError, DataError, VenueError
from bot.settings import Settings
from bot.signer.client import SignerClient
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.identity import check_account, check_network, check_signer, listed_for
from bot.venues.hyperliquid.signing import SignerSocket


def server(account: Account) -> Finding:
    """Whether the server is known to be of another network; nothing is asked."""
    check = f"{account.name} server"
    assert account.url is not None
    if int(str(account.address), 16) == 0:
        return failed(check, "venue.account is the address that nobody has; put that of your account")
    try:
        check_network(account.url, account.network)
    except ConfigError as error:
        return failed(check, str(error))
    return ok(check, f"{account.url} is taken for {account.network}")


async def online(account: Account, settings: Settings, *, is_signed: bool) -> AsyncIterator[Finding]:
    """One public question, the time, and who trades for whom with what money."""
    assert account.url is not None
    client, clock = Client(account.url), WallClock()
    try:
        before_ms = clock.now_ms()
        try:
            venue_ms = int(await client.info({"type": "exchangeStatus"}))
        except (VenueError, DataError) as error:
            yield failed(f"{account.name} answers", f"{account.url} does not answer: {error}")
            return
        now_ms = (before_ms + clock.now_ms()) // 2
        yield ok(f"{account.name} answers", f"{account.url} answers")
        yield offset(account.name, settings, venue_ms - now_ms, is_simulated=account.network == "devnet")
        async for finding in _account(account, client, is_signed=is_signed):
            yield finding
    finally:
        await client.close()


async def _account(account: Account, client: Client, *, is_signed: bool) -> AsyncIterator[Finding]:
    check = f"{account.name} account"
    try:
        if not is_signed:
            role = await client.info({"type": "userRole", "user": account.address})
            if role.kind == "missing":
                yield failed(
                    check,
                    f"the venue knows no account {account.address}; deposit there, or correct the address",
                )
            else:
                yield warning(
                    check,
                    f"the venue knows {account.address}; who trades for it shows once its signer answers",
                )
            return
        with SignerClient(account.signer) as asks:
            whose = SignerSocket(asks).whose()
        listed = await listed_for(client, account.coins)
        check_signer(whose, account.network, str(account.address), account.coins, listed)
        found = await check_account(client, whose, account.coins, listed)
    except (ConfigError, VenueError, DataError) as error:
        yield failed(check, str(error))
        return
    yield ok(check, "; ".join(found.lines()))
    for each in found.warnings:
        yield warning(check, each)
