"""A central exchange: where its client library would go, and online whether it answers, what time it has, what the key may do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bot.clock import WallClock
from bot.doctor.accounts import Account
from bot.doctor.finding import Finding, failed, ok, warning
from bot.doctor.times import offset
from bot.errors import ConfigError, DataError, Refused, VenueError
from bot.settings import Settings
from bot.signer.cex_client import CexSigner
from bot.signer.client import SignerError
from bot.venues.cex import exchange as exchanges
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences, differences_of
from bot.venues.cex.hosts import PRACTICE, SIMULATED, check_hosts
from bot.venues.cex.startup import check_signer, find_markets
from bot.venues.cex.terms import CexTerms
from bot.venues.venue_clock import VenueClock


def terms_of(account: Account) -> CexTerms:
    """Where the adapter would go."""
    return CexTerms(account.name, account.network, account.coins, service=account.service, url=account.url)


def hosts(account: Account) -> Iterator[Finding]:
    """Whether the library can be sent to where one may practise, by making it as a run does; nothing is asked."""
    check, terms = f"{account.name} hosts", terms_of(account)
    try:
        library = f"ccxt {version('ccxt')}"
    except PackageNotFoundError:
        yield failed(check, "the client library is not here; run `pip install 'hedgerow[cex]'`")
        return
    try:
        made = exchanges.made(
            terms, differences_of(terms.venue, terms.service), CexSigner(account.signer), WallClock().now_ms
        )
        found = ", ".join(check_hosts(made, terms))
    except (ConfigError, AttributeError) as error:
        what = (
            str(error)
            if isinstance(error, ConfigError)
            else f"it knows no {account.service} of {account.name}; upgrade it"
        )
        yield failed(check, f"{library}: {what}")
        return
    if account.url is not None:
        yield ok(check, f"{library} asks the devnet at {found}")
    elif account.name == "okx":
        yield ok(
            check,
            f"{library} asks {found}, the host of real money too; every request carries "
            f"{SIMULATED[0]}: {SIMULATED[1]}, which makes it the demo's",
        )
    else:
        yield ok(check, f"{library} asks hosts of the {account.service} service only: {found}")


def key_unasked(account: Account) -> Finding:
    """What can't be known without asking."""
    return warning(
        f"{account.name} key",
        "what the API key may do is not known offline; see to it at the exchange that it can trade futures and not withdraw",
    )


async def online(account: Account, settings: Settings, *, is_signed: bool) -> AsyncIterator[Finding]:
    """One public question, the time, and where a signer answers the account, the contracts and the key."""
    terms = terms_of(account)
    differences = differences_of(terms.venue, terms.service)
    wall = WallClock()

    async def ask_ms() -> int:
        return int(await client.ask("fetch_time"))

    clock = VenueClock(ask_ms, pace=terms.clock)
    with CexSigner(account.signer) as signer:
        try:
            exchange = exchanges.made(terms, differences, signer, clock.now_ms)
        except (ConfigError, AttributeError, ImportError):
            return  # which `hosts` has told
        client = Client(exchange, differences, clock.look)
        try:
            before_ms = wall.now_ms()
            try:
                venue_ms = await clock.look()
            except (VenueError, DataError) as error:
                why = str(error).partition(";")[0]
                said = f"{_where(account)} can't be reached: {why[:1].lower()}{why[1:]}; check the network, and whether it is up"
                yield failed(f"{account.name} answers", said)
                return
            now_ms = (before_ms + wall.now_ms()) // 2
            yield ok(f"{account.name} answers", f"{_where(account)} answers")
            yield offset(account.name, settings, venue_ms - now_ms, is_simulated=account.network == "devnet")
            if is_signed:
                async for finding in _account(account, terms, differences, client, signer):
                    yield finding
            else:
                yield warning(
                    f"{account.name} account",
                    "without its signer the account can't be asked for; start it and ask again",
                )
        finally:
            await client.close()


def _where(account: Account) -> str:
    """The host, or hosts, in words."""
    if account.url is not None:
        return f"{account.name} at {account.url}"
    hosts = sorted(PRACTICE[account.name, account.service])
    return f"{account.name} at {hosts[-1]}"


async def _account(
    account: Account, terms: CexTerms, differences: Differences, client: Client, signer: CexSigner
) -> AsyncIterator[Finding]:
    """What the exchange says to the key."""
    check = f"{account.name} account"
    try:
        balance: Any = await client.ask("fetch_balance")
        equity = balance["total"].get(terms.settle) or 0
    except (Refused, ConfigError) as error:
        yield failed(check, f"the exchange does not take the key, or the signer does not sign: {error}")
        return
    except (VenueError, DataError, KeyError, TypeError) as error:
        yield failed(check, f"the account could not be read: {error}")
        return
    yield ok(check, f"the key is taken, and the account holds {equity} {terms.settle}")
    try:
        markets = await find_markets(client, terms, differences)
        check_signer(signer, terms, markets)
        decimals = signer.status()["size_decimals"]
    except (ConfigError, VenueError, DataError, SignerError) as error:
        yield failed(f"{account.name} contracts", str(error))
    else:
        wrong = [
            f"sizes of {each.market_id} have {each.instrument.size_decimals} decimals at the exchange and "
            f"{decimals[each.market_id]} in the signer's policy"
            for each in markets
            if decimals[each.market_id] < each.instrument.size_decimals
        ]
        listed = ", ".join(each.market_id for each in markets)
        if wrong:
            yield failed(f"{account.name} contracts", f"{'; '.join(wrong)}; mend size_decimals there")
        else:
            yield ok(f"{account.name} contracts", f"{listed} are traded there, and the policy has them")
    yield await _key(account, differences, client)


async def _key(account: Account, differences: Differences, client: Client) -> Finding:
    """What it may do, where the exchange tells."""
    check = f"{account.name} key"
    if differences.can_withdraw is None or account.network == "devnet":
        return warning(
            check, f"{account.name} does not tell what a key may do; see to it there that it can't withdraw"
        )
    try:
        may = differences.can_withdraw(await client.ask(differences.permissions))
    except (VenueError, DataError, KeyError, IndexError, TypeError) as error:
        return warning(
            check,
            f"what the key may do could not be asked ({error}); see to it at the exchange that it can't withdraw",
        )
    if may:
        return failed(check, "the API key may withdraw; make one that can only trade")
    return ok(check, "the API key can't withdraw")
