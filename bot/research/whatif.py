"""What a move of the market would do to a book: the one in a journal, or one that is told by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any

from bot.data.legs import Leg
from bot.errors import ConfigError, DataError
from bot.journal import inputs, past
from bot.journal.reader import Reader, moment
from bot.model.account import MarginMode
from bot.model.instrument import HYPERLIQUID, Instrument, Kind, MarginTier, spot_instrument, underlying_of
from bot.model.money import ZERO
from bot.pipeline.joint import Book, Held, Scenario, deaths, deltas, margins, play, rescues

TOLD_LEVERAGE = 20
"""Of a perpetual that is told by hand: its margin is that of a coin that allows so much."""

CENT = 0.01

Facts = dict[str, Any]


def book_of(reader: Reader) -> tuple[Book, list[str]]:
    """The book as of a journal's last cycle, and what of it is not known, a sentence each.

    StateError where the journal can't be read, ConfigError before its first cycle, and where it does not tell what a book
    over several wallets has in each.
    """
    last = reader.last
    if last is None:
        raise ConfigError("the journal has no cycle yet; look again when the daemon has decided once")
    known = _instruments(reader)
    rows = list(reader.each("SELECT * FROM position ORDER BY instrument"))
    isolated = [row["instrument"] for row in rows if row["margin_mode"] == MarginMode.ISOLATED]
    if isolated:
        raise ConfigError(
            f"{', '.join(isolated)} {'has' if len(isolated) == 1 else 'have'} isolated margin, and what the whole wallet would "
            "carry is no answer for that; `hedgerow positions` shows the price at which each is liquidated"
        )
    held = tuple(
        Held(
            known[row["instrument"]],
            float(known[row["instrument"]].size(row["lots"])),
            float(row["entry_price"]),
            float(row["mark"]),
        )
        for row in rows
        if row["instrument"] in known
    )
    notes = []
    strange = [row["instrument"] for row in rows if row["instrument"] not in known]
    if strange:
        notes.append(
            f"left out, since no run in this journal says what it is: {', '.join(strange)}; its wallet may be called earlier"
        )
    equity, named = float(last["equity_usd"]), sorted({each.instrument.wallet for each in held})
    wallets = _wallets(reader, last["time_ms"])
    if wallets is None:
        wallets = _decided_with(reader)
        apart = 0.0 if wallets is None else equity - sum(wallets.values())
        if abs(apart) >= CENT:
            notes.append(
                f"the wallets are as the last decision knew them; {apart:+,.2f} USD that came since are in none of them"
            )
    if wallets is None and len(named) > 1:
        raise ConfigError(
            f"the book is held in {', '.join(named)}, and the journal has one equity for all of them; tell it by hand, with "
            "--hold NAME=SIZE, --mark NAME=PRICE and --equity WALLET=USD"
        )
    missing = [] if wallets is None else [name for name in named if name not in wallets]
    if missing:
        raise ConfigError(
            f"the journal does not say what is in the wallet {', '.join(missing)}; tell the book by hand, with --hold NAME=SIZE, "
            "--mark NAME=PRICE and --equity WALLET=USD"
        )
    if wallets is None:
        only = named or [next((each.wallet for each in known.values()), HYPERLIQUID)]
        wallets = dict.fromkeys(only, equity)
    return Book(held, wallets), notes


def _instruments(reader: Reader) -> dict[str, Instrument]:
    """By name, each as the newest run that traded it has it."""
    known: dict[str, Instrument] = {}
    for row in reader.each("SELECT * FROM opening ORDER BY run_id DESC"):
        for each in past.decode(row["content"]).instruments:
            known.setdefault(each.name, each)
    return known


def _wallets(reader: Reader, time_ms: int) -> dict[str, float] | None:
    """Equity of each wallet at a cycle's end; None where it was not written down, as by an earlier program."""
    if reader.one("SELECT 1 FROM sqlite_schema WHERE name = 'wallet'") is None:
        return None
    rows = reader.each("SELECT * FROM wallet WHERE time_ms = ?", time_ms)
    return {row["name"]: float(row["usd"]) for row in rows} or None


def _decided_with(reader: Reader) -> dict[str, float] | None:
    given = reader.one(
        "SELECT content FROM input JOIN decision ON decision.id = decision_id ORDER BY time_ms DESC LIMIT 1"
    )
    told = None if given is None else inputs.decode(given["content"]).account.wallet_usd
    return None if told is None else dict(told)


def book_by_hand(holdings: Iterable[str], equities: Iterable[str], prices: Iterable[str]) -> Book:
    """A book told as `BTC=-0.5`, `hyperliquid=10000` and `BTC=95000`. ConfigError for what makes no sense."""
    sizes, marks = _numbers(holdings, "hold"), _numbers(prices, "mark")
    wallets = _numbers(equities, "equity")
    held = []
    for name, size in sizes.items():
        mark = marks.get(name)
        if mark is None or not mark > 0:
            raise ConfigError(f"{name} is held and has no price; give it one with --mark {name}=PRICE")
        instrument = _instrument(name)
        if instrument.wallet not in wallets:
            raise ConfigError(
                f"{name} is in the wallet '{instrument.wallet}', whose equity is not given; add --equity '{instrument.wallet}=USD'"
            )
        if instrument.kind is Kind.SPOT and size < 0:
            raise ConfigError(f"{name} is spot, which can't be held short; give a size above 0")
        held.append(Held(instrument, size, mark, mark))
    for wallet in wallets:
        if wallet not in {each.instrument.wallet for each in held}:
            raise ConfigError(
                f"nothing is held in the wallet {wallet!r}; name the wallet of what is held, or leave it out"
            )
    if not held:
        raise ConfigError("nothing is held in what was told; add --hold NAME=SIZE")
    return Book(tuple(held), wallets)


def scenario_of(
    price: str, coins: Iterable[str], depegs: Iterable[str], funding: str, hours: float, down: Iterable[str]
) -> Scenario:
    """What was asked for on the command line. ConfigError for what makes no sense."""
    moves = {"": _percent(price, "price")} if price else {}
    for each in coins:
        name, _, text = each.partition("=")
        moves[name] = _percent(text, f"price of {name}")
    pegs = {}
    for each in depegs:
        name, _, text = each.partition("=")
        pegs[name] = _percent(text, f"depeg of {name}")
    rate = _percent(funding.removesuffix("/h"), "funding") if funding else 0.0
    if not (isfinite(hours) and hours >= 0):
        raise ConfigError(f"the hours must be 0 or more, found {hours:g}")
    if any(move <= -1 for move in (*moves.values(), *pegs.values())):
        raise ConfigError("a price can't fall by 100% or more; give a smaller move")
    return Scenario(moves, pegs, rate, hours, frozenset(down))


def whatif(book: Book, scenario: Scenario, wanted_distance: float) -> Facts:
    """All that is known of a book as it is, and of what the scenario makes of it; JSON values."""
    known = {each.instrument.venue for each in book.held}
    for venue in scenario.down:
        if venue not in known:
            raise ConfigError(
                f"nothing is held at {venue!r}; there are {', '.join(sorted(known)) or 'no venues'}"
            )
    coins = {each.instrument.underlying for each in book.held}
    for coin in scenario.moves:
        if coin and coin not in coins:
            raise ConfigError(f"nothing is held of {coin!r}; there is {', '.join(sorted(coins))}")
    names = {each.instrument.name for each in book.held}
    for name in scenario.depegs:
        if name not in names:
            raise ConfigError(f"{name!r} is not held; there are {', '.join(sorted(names))}")
    outcome = play(book, scenario)
    return {
        "equity_usd": book.equity_usd,
        "equity_after_usd": outcome.after.equity_usd,
        "price_usd": outcome.price_usd,
        "funding_usd": outcome.funding_usd,
        "margin_lost_usd": 0.0 - outcome.lost_margin_usd,
        "delta": [_delta(each) for each in deltas(book.held)],
        "delta_after": [_delta(each) for each in deltas(outcome.after.held)],
        "wallets": [
            {
                "wallet": each.wallet,
                "equity_usd": each.equity_usd,
                "after_usd": outcome.after.wallets[each.wallet],
                "gross_usd": each.gross_usd,
                "maintenance_usd": each.maintenance_usd,
                "called_up": _finite(each.up),
                "called_down": _finite(-each.down),
            }
            for each in margins(book)
        ],
        "legs": [
            {
                "coin": each.name,
                "wallet": each.wallet,
                "liquidation_price": _finite(each.price),
                "move": _finite(_signed(book, each.name, each.move)),
                "adl_rank": each.adl_rank,
            }
            for each in deaths(book)
        ],
        "liquidated": [
            {
                "wallet": each.wallet,
                "at": each.at,
                "marks": dict(each.marks),
                "equity_there_usd": each.equity_usd,
            }
            for each in outcome.called
        ],
        "stuck": [each.instrument.name for each in outcome.stuck],
        "closable": [each.instrument.name for each in outcome.reachable],
        "delta_if_closed": [_delta(each) for each in deltas(outcome.stuck)],
        "rescue": [
            {"wallet": each.wallet, "transfer_usd": each.transfer_usd, "or_shrink_to": each.shrink_to}
            for each in rescues(book, wanted_distance)
        ],
        "wanted_distance": wanted_distance,
    }


def told(reader: Reader) -> Facts:
    """Of which moment a journal's book is."""
    return moment("time", reader.last_ms)


def _instrument(name: str) -> Instrument:
    try:
        leg = Leg.of(name)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if leg.kind is Kind.SPOT:
        return spot_instrument(name, 8, name.rpartition(":")[2].partition("/")[0], leg.venue)
    _, multiplier = underlying_of(name)
    return Instrument(name, 8, (MarginTier(ZERO, TOLD_LEVERAGE),), multiplier=multiplier, venue=leg.venue)


def _numbers(given: Iterable[str], what: str) -> dict[str, float]:
    found: dict[str, float] = {}
    count = 0
    for each in given:
        name, _, text = each.rpartition("=")
        try:
            found[name] = float(text.replace("_", "").replace(",", ""))
        except ValueError:
            found[name] = float("nan")
        if not name or not isfinite(found[name]):
            raise ConfigError(f"--{what} {each!r} is no NAME=NUMBER")
        if len(found) <= count:
            raise ConfigError(f"--{what} {name} is given twice; give it once")
        count = len(found)
    return found


def _percent(text: str, what: str) -> float:
    match = re.fullmatch(r"([+-]?(?:\d+(?:\.\d+)?|\.\d+))%", text.strip())
    if match is None:
        raise ConfigError(f"the {what} must be a percentage such as -25%, found {text!r}")
    return float(match[1]) / 100


def _signed(book: Book, name: str, move: float) -> float:
    """A long dies of a fall, a short of a rise."""
    size = next(each.size for each in book.held if each.instrument.name == name)
    return -move if size > 0 else move


def _delta(delta: Any) -> Facts:
    return {
        "underlying": delta.underlying,
        "coins": delta.coins,
        "usd": delta.usd,
        "gross_usd": delta.gross_usd,
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
