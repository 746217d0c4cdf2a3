"""Composition: from a config to the objects that run it. The only module that puts a venue into a daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.clock import HOUR_MS, utc
from bot.compose import history_of, legs_of, mandate_of, shares_of, with_spreads
from bot.config_venue import VenueSettings
from bot.data.store import History
from bot.data.tables import nearest
from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.model.instrument import HYPERLIQUID
from bot.pipeline.mandate import Mandate
from bot.pipeline.market import rows_needed
from bot.research.markets import START_MS
from bot.settings import AccountSettings, Settings, shown

if TYPE_CHECKING:
    from bot.guard.guard import Orders
    from bot.guard.start import Post
    from bot.journal.journal import Journal
    from bot.paper.world import Surroundings, World
    from bot.trader.schedule import RunClock
    from bot.trader.trader import Trader
    from bot.venues.cex.terms import CexTerms
    from bot.venues.hyperliquid.terms import Terms
    from bot.venues.venue import Outbox, Venue

log = structlog.get_logger("hedgerow")

AGENT_DAYS = 51 * 365  # a paper run's market may run through years in a night
PLACES = {"binance": 1, "bybit": 2, "okx": 3}  # of each exchange's numbers in the outbox, for good


@dataclass(frozen=True)
class Daemon:
    """All that a daemon needs but its journal and its venue; nothing has been opened or written yet."""

    settings: Settings
    mandate: Mandate
    adopts: bool = False  # see Terms

    def trader(self, venue: Venue, journal: Journal) -> Trader:
        """The trader on an open journal and a venue."""
        from bot.trader.trader import Trader
        from bot.trader.watchdog import Bounds

        bounds = Bounds(**self.settings.watchdog.model_dump(exclude={"schedule_cancel_s"}))
        mandate = with_spreads(self.mandate, self.settings, venue.instruments)
        for spread in mandate.spreads:
            log.info("legs", spread=spread.name, step=float(spread.step), risks="; ".join(spread.risks))
        return Trader(self.settings.name, venue, mandate, journal, shown(self.settings), bounds=bounds)

    @asynccontextmanager
    async def venue(self, journal: Journal, fail: Callable[[BaseException], None]) -> AsyncIterator[Running]:
        """The venue that the config names, connected; `fail` hears of a child process that ends by itself.

        ConfigError, StateError or VenueError where it can't be reached or isn't what the config says.
        """
        settings, rows = self.settings, rows_needed(self.mandate)
        if settings.mode == "live":
            here = None
            if settings.venue is not None:
                terms = live_terms(settings.venue, settings.account, rows)
                terms = replace(terms, switch_s=settings.watchdog.schedule_cancel_s, adopts=self.adopts)
                here = terms, settings.venue.signer
            there = [
                (replace(live_cex_terms(name, settings, rows), adopts=self.adopts), each.signer)
                for name, each in settings.cex.items()
            ]
            async with connected(here, there, journal) as venue:
                yield Running(venue)
            return
        from bot.paper.world import put_up

        async with put_up(surroundings_of(settings, is_new=journal.last_run() is None), fail) as world:
            assert settings.market is not None
            here = replace(paper_terms(world, settings, rows), adopts=self.adopts), world.signer
            there = []
            if world.cex is not None:
                cex_terms = replace(paper_cex_terms(world, settings, rows), adopts=self.adopts)
                there = [(cex_terms, world.cex.signer)]
            async with connected(here, there, journal) as venue:
                runs = settings.market.source != "mirror"
                yield Running(venue, world.run_clock, world.slowed) if runs else Running(venue)


@dataclass(frozen=True)
class Running:
    """A venue to trade on, and how to let its time pass or stand, or go slowly, where that is ours to say."""

    venue: Venue
    run_clock: RunClock | None = None
    slowed: Callable[[], AbstractAsyncContextManager[None]] = nullcontext


def daemon_of(settings: Settings, folder: Path | None = None) -> Daemon:
    """The daemon that a config describes. ConfigError, DataError for what can't be."""
    mandate = daemon_mandate_of(settings, folder)
    if settings.mode == "paper":
        check_market(settings, rows_needed(mandate))
        paper_wallets(settings)
    return Daemon(settings, mandate)


def daemon_mandate_of(settings: Settings, folder: Path | None = None) -> Mandate:
    """As `mandate_of`, with the slot of what the operator asks for by hand."""
    from bot.pipeline.by_hand import SLOT

    mandate = mandate_of(settings, folder)
    return replace(mandate, strategies=(*mandate.strategies, SLOT))


def post_of(settings: Settings) -> tuple[Post, Orders]:
    """Where the guard of a daemon stands, and what it is told to do. ConfigError where there is nothing to guard."""
    from bot.guard.guard import Orders
    from bot.guard.start import Post
    from bot.signer.program import default_socket

    venue, guard, execution = settings.venue, settings.guard, settings.execution
    if settings.mode == "paper":
        raise ConfigError(
            "on paper the exchange is the daemon's child and ends with it, so there is nothing left to guard; a guard is for "
            'mode = "live", and with network = "devnet" it can be tried without money'
        )
    if settings.mode != "live":
        raise ConfigError('a backtest needs no guard; it is for mode = "live"')
    if venue is None or settings.cex:
        raise ConfigError(
            "a guard acts on one Hyperliquid account, and would leave the other legs of this config bare; stops that rest "
            "at the venues protect them where the daemon is silent"
        )
    post = Post(
        journal=settings.journal.path,
        url=venue.url,
        network=venue.network,
        account=venue.account,
        coins=venue.coins,
        signer=guard.signer or default_socket(f"{venue.network}-guard"),
        daemons_signer=venue.signer or default_socket(venue.network),
    )
    stop_loss = execution.stop_loss if guard.stop_loss is None else guard.stop_loss
    orders = Orders(guard.silent_s, guard.close_after_s, stop_loss, execution.slippage_bps, guard.poll_s)
    return post, orders


def check_market(settings: Settings, tail_rows: int) -> None:
    """ConfigError, DataError where the market of a paper run can't be."""
    from bot.research.assumptions import refuse_gaps
    from bot.sim.coins import MAJORS

    market = settings.market
    if market is None:
        raise ConfigError('mode = "paper" needs a [market] section; add one')
    if market.source == "synthetic":
        unknown = [coin for coin in market.coins if coin not in MAJORS]
        if unknown:
            raise ConfigError(
                f"market.coins: the synthetic market has no coin {unknown[0]!r}; {nearest(unknown[0], list(MAJORS))}"
            )
    elif market.source == "replay":
        history, first_row = replay_of(settings, tail_rows)
        assert settings.data is not None
        if settings.data.missing == "refuse":
            refuse_gaps(history.panel)
        if first_row < 1:
            raise ConfigError(
                "the replay has no hour of history before its first; choose a later market.start, or a "
                "market.warmup_h of 1 or more"
            )


def replay_of(settings: Settings, tail_rows: int) -> tuple[History, int]:
    """The recording that a paper run plays back, and the row it begins with."""
    assert settings.data is not None
    assert settings.market is not None
    market, data = settings.market, settings.data
    if market.start is not None:
        data = data.model_copy(update={"start": market.start})
    history, first_row = history_of(data, tail_rows)
    if data.start is None:
        first_row = min(market.warmup_h, history.panel.rows - 1)
    return history, first_row


def surroundings_of(settings: Settings, *, is_new: bool) -> Surroundings:
    """The exchange and the signer around a paper run, kept in a folder named after the journal."""
    from bot.paper.policy import Bounds
    from bot.paper.world import Surroundings

    market, account = settings.market, settings.account
    assert market is not None
    bounds = Bounds(**settings.policy.model_dump(), max_leverage=account.leverage)
    devnet: dict[str, object] = {
        "market": market.source,
        "history_h": max(market.warmup_h, 1),
        "agent_days": AGENT_DAYS,
    }
    coins = market.coins
    if market.source == "mirror":
        devnet["mirror_url"] = market.mirror_url
    else:  # time is ours to set, and stands until the trader is there
        devnet |= {"speed": market.speed, "seed": market.seed, "paused": True}
    if market.source == "synthetic":
        devnet["start"] = utc(START_MS) if market.start is None else market.start
    elif market.source == "replay":
        assert settings.data is not None
        history, first_row = replay_of(settings, 1)
        coins = history.panel.instruments
        devnet |= {
            "data": settings.data.folder,
            "data_query": settings.data.model_dump_json(include={"table", "prices", "funding", "end"}),
            "start": utc(history.panel.grid.time_ms(max(first_row, 1) - 1)),
        }
    return Surroundings(
        folder=settings.journal.path.with_suffix(""),
        devnet={**devnet, "coins": coins},
        coins=(*coins, *spot_legs(settings)),
        wallets=paper_wallets(settings),
        bounds=bounds,
        speed=market.speed,
        new_journal=is_new,
        cex_coins=tuple(coin for each in settings.cex.values() for coin in each.coins),
    )


def spot_legs(settings: Settings) -> tuple[str, ...]:
    """The spot markets of Hyperliquid among the legs of spreads."""
    return tuple(name for name in legs_of(settings) if "/" in name)


def paper_wallets(settings: Settings) -> dict[str, Decimal]:
    """What each wallet of a paper run begins with, USD. ConfigError where the config does not say."""
    from bot.paper.world import SPOT_WALLET

    spot = [SPOT_WALLET] if spot_legs(settings) else []
    return shares_of(settings, [HYPERLIQUID, *spot, *settings.cex])


def paper_terms(world: World, settings: Settings, history_h: int) -> Terms:
    """How the live adapter trades on a paper run's exchange."""
    from bot.venues.hyperliquid.feed import Patience as FeedPatience
    from bot.venues.hyperliquid.terms import Terms
    from bot.venues.venue_clock import Pace

    coins = surroundings_of(settings, is_new=False).coins
    return Terms(
        url=world.url,
        network="devnet",
        account=world.account,
        coins=coins,
        leverage=settings.account.leverage,
        margin_mode=MarginMode(settings.account.margin_mode),
        history_h=history_h,
        weight_per_minute=None,
        feed=FeedPatience(
            first_retry_s=0.1, longest_retry_s=2.0
        ),  # it is on this machine, and its hours are short
        pace=Pace(world.speed, min(30.0, HOUR_MS / 4000 / world.speed)),
        switch_s=settings.watchdog.schedule_cancel_s,
    )


def live_terms(venue: VenueSettings, account: AccountSettings, history_h: int) -> Terms:
    """How the adapter trades on a venue of the world."""
    from bot.venues.hyperliquid.budget import WEIGHT_PER_MINUTE
    from bot.venues.hyperliquid.terms import Terms

    return Terms(
        url=venue.url,
        network=venue.network,
        account=venue.account,
        coins=venue.coins,
        leverage=account.leverage,
        margin_mode=MarginMode(account.margin_mode),
        history_h=venue.history_h or history_h,
        weight_per_minute=None if venue.network == "devnet" else WEIGHT_PER_MINUTE,
    )


def live_cex_terms(name: str, settings: Settings, history_h: int) -> CexTerms:
    """How the adapter trades at a central exchange's test service."""
    from bot.venues.cex.terms import CexTerms

    cex = settings.cex[name]  # type: ignore[index]  # one of its keys
    return CexTerms(
        venue=name,
        network=cex.network,
        service=cex.service,
        coins=cex.coins,
        url=cex.url,
        leverage=settings.account.leverage,
        margin_mode=MarginMode(settings.account.margin_mode),
        history_h=cex.history_h or history_h,
    )


def paper_cex_terms(world: World, settings: Settings, history_h: int) -> CexTerms:
    """How the same adapter trades on a paper run's simulated exchange."""
    from bot.venues.venue_clock import Pace

    assert world.cex is not None
    (name,) = settings.cex
    return replace(
        live_cex_terms(name, settings, history_h),
        network="devnet",
        url=world.cex.url,
        pace=Pace(world.speed, min(30.0, HOUR_MS / 4000 / world.speed)),
    )


@asynccontextmanager
async def connected(
    here: tuple[Terms, Path | None] | None,
    there: Sequence[tuple[CexTerms, Path | None]],
    journal: Journal,
) -> AsyncIterator[Venue]:
    """The adapters of Hyperliquid and of central exchanges, each with its signer's socket, as one venue; hung up at the end.

    Each has its own numbers in the journal's one outbox.
    """
    from bot.venues.joint import JointVenue, OwnOutbox

    async with AsyncExitStack() as stack:
        venues: dict[str, Venue] = {}
        if here is not None:
            terms, signer = here
            outbox = OwnOutbox(journal.attempts, terms.coins, 0) if there else journal.attempts
            venues[HYPERLIQUID] = await stack.enter_async_context(_hyperliquid(terms, signer, outbox))
        for cex_terms, signer in there:
            names = [cex_terms.name(coin) for coin in cex_terms.coins]
            outbox = OwnOutbox(journal.attempts, names, PLACES[cex_terms.venue])
            venues[cex_terms.venue] = await stack.enter_async_context(_cex(cex_terms, signer, outbox))
        yield next(iter(venues.values())) if len(venues) == 1 else JointVenue(venues)


@asynccontextmanager
async def _hyperliquid(terms: Terms, signer: Path | None, outbox: Outbox) -> AsyncIterator[Venue]:
    from bot.signer.client import SignerClient
    from bot.signer.program import default_socket
    from bot.venues.hyperliquid.adapter import HyperliquidVenue
    from bot.venues.hyperliquid.signing import SignerSocket

    with SignerClient(signer or default_socket(terms.network)) as client:
        venue = await HyperliquidVenue.connect(terms, SignerSocket(client), outbox)
        try:
            yield venue
            await venue.end()  # not where it was broken off: then the venue's switch is to fire
        finally:
            await venue.close()


@asynccontextmanager
async def _cex(terms: CexTerms, signer: Path | None, outbox: Outbox) -> AsyncIterator[Venue]:
    from bot.signer.cex_client import CexSigner
    from bot.signer.program import default_socket
    from bot.venues.cex.adapter import CexVenue

    with CexSigner(signer or default_socket(f"{terms.venue}-{terms.network}")) as client:
        venue = await CexVenue.connect(terms, client, outbox)
        try:
            yield venue
        finally:
            await venue.close()
