"""Both legs of a carry on paper, as the shipped configs have it: real processes, both wires, and the exchanges' own books."""

import json
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from bot import app, settings
from bot.clock import parse_utc
from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.paper.account import account_in
from bot.paper.cex import PASSWORD
from bot.signer import cex_signing, keystore
from tests.devnet.cex.clients import client_of
from tests.trader.daemon import REPOSITORY, Daemon, hedgerow

D = Decimal
HOURS = 14
OVERRIDES = ["market.speed=7200", "journal.path=state/journal.sqlite", "logs.format=json"]


def lived(folder: Path, config: str) -> list[dict[str, Any]]:
    """A daemon on a shipped config for some hours, ended in order; what it logged."""
    (folder / "config.toml").write_text((REPOSITORY / "config" / config).read_text())
    daemon = Daemon(folder, *(word for each in OVERRIDES for word in ("--set", each)))
    daemon.wait_for_cycles(HOURS)
    assert daemon.end(signal.SIGTERM) == 0, daemon.said()
    return daemon.events()


@contextmanager
def left_behind(folder: Path) -> Iterator[Server]:
    """The exchange as the daemon left it, standing still."""
    loaded = settings.load(folder / "config.toml", OVERRIDES, {})
    around = app.surroundings_of(loaded, is_new=False)
    assert loaded.market is not None
    options = Options(
        seed=loaded.market.seed,
        coins=loaded.market.coins,
        history_h=loaded.market.warmup_h,
        agent_days=app.AGENT_DAYS,
        start_ms=parse_utc(str(around.devnet["start"])),
        paused=True,
        state=folder / "state" / "journal" / "devnet.state",
        cex_port=0 if around.cex_coins else None,
    )
    with running(options) as server:
        yield server


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite")) as connection:
        return connection.execute(query).fetchall()


def held_by_cycle(folder: Path) -> dict[int, dict[str, D]]:
    """Coins of each instrument as each cycle was over that traded any, by the postings of the ledger."""
    decimals = dict(rows(folder, "SELECT name, size_decimals FROM instrument"))
    held: dict[str, D] = defaultdict(D)
    found = {}
    for cycle_ms, account, lots in rows(
        folder,
        "SELECT cycle_ms, account, lots FROM posting JOIN entry ON entry.id = entry_id"
        " WHERE account LIKE 'POSITION:%' ORDER BY cycle_ms",
    ):
        name = account.removeprefix("POSITION:")
        held[name] += D(lots).scaleb(-decimals[name])
        found[cycle_ms] = dict(held)
    return found


def info(server: Server, **body: Any) -> Any:
    reply = requests.post(f"{server.url}/info", json=body, timeout=10)
    assert reply.status_code == 200, reply.text
    return reply.json()


def longest_bare_s(folder: Path, hedge_of: Mapping[str, str]) -> float:
    """Seconds of the market that one leg was ahead of the other by more than a step, at the longest."""
    sizes = dict(rows(folder, "SELECT name, size_decimals FROM instrument"))
    primary_of = {hedge: primary for primary, hedge in hedge_of.items()}
    held: dict[str, D] = defaultdict(D)
    since: dict[str, int] = {}
    longest_ms = 0
    for at_ms, name, side, lots in rows(
        folder, "SELECT time_ms, instrument, side, lots FROM fill ORDER BY time_ms, rowid"
    ):
        primary = primary_of.get(name, name)
        held[primary] += D(lots).scaleb(-sizes[name]) * (1 if side == "buy" else -1)
        if abs(held[primary]) <= D("0.01"):
            longest_ms = max(longest_ms, at_ms - since.pop(primary, at_ms))
        else:
            since.setdefault(primary, at_ms)
    return longest_ms / 1000


def positions_at_hyperliquid(server: Server, account: str) -> dict[str, D]:
    perps = info(server, type="clearinghouseState", user=account)["assetPositions"]
    return {each["position"]["coin"]: D(each["position"]["szi"]) for each in perps}


def positions_in(folder: Path) -> dict[str, D]:
    return {
        name: D(lots).scaleb(-decimals)
        for name, lots, decimals in rows(folder, "SELECT instrument, lots, size_decimals FROM position")
    }


def says_the_ledger_is_right(folder: Path) -> None:
    checked = hedgerow(folder, "ledger", "verify", "--journal", "state/journal.sqlite", "--json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["is_right"]
    split = hedgerow(folder, "pnl", "--journal", "state/journal.sqlite", "--json")
    told = {part: D(str(usd)) for part, usd in json.loads(split.stdout, parse_float=str)["pnl"].items()}
    assert told["price"] + told["funding"] + told["fees"] == told["total"]
    assert told["fees"] < 0 != told["funding"]


@pytest.mark.slow
def test_perpetuals_against_spot_hold_each_other_and_earn_their_funding(tmp_path: Path) -> None:
    events = lived(tmp_path, "paper-carry-spot.toml")
    assert not [event for event in events if event["level"] == "error"]
    pairs = {
        "BTC": ("UBTC/USDC", D("0.00001")),
        "ETH": ("UETH/USDC", D("0.0001")),
        "HYPE": ("HYPE/USDC", D("0.01")),
    }
    cycles = held_by_cycle(tmp_path)
    assert cycles
    for held in cycles.values():
        for perp, (spot, lot) in pairs.items():
            assert abs(held.get(perp, D(0)) + held.get(spot, D(0))) <= lot
    last = cycles[max(cycles)]
    both_on = [perp for perp, (spot, _) in pairs.items() if last.get(perp, 0) < 0 < last.get(spot, 0)]
    assert both_on
    received = dict(rows(tmp_path, "SELECT instrument, sum(usd) FROM funding GROUP BY 1"))
    assert set(received) == set(both_on)
    says_the_ledger_is_right(tmp_path)
    paper = account_in(tmp_path / "state" / "journal")
    assert paper is not None
    with left_behind(tmp_path) as server:
        journal = positions_in(tmp_path)
        perps = positions_at_hyperliquid(server, paper.account)
        assert {name: size for name, size in journal.items() if "/" not in name} == perps
        wallet = info(server, type="spotClearinghouseState", user=paper.account)["balances"]
        owned = {each["coin"]: D(each["total"]) for each in wallet}
        for spot, lot in pairs.values():
            there = owned.get(spot.partition("/")[0], D(0))
            assert D(0) <= there - journal.get(spot, D(0)) < lot  # dust


@pytest.mark.slow
def test_perpetuals_of_two_venues_hold_each_other_and_the_books_are_both_venues_own(tmp_path: Path) -> None:
    events = lived(tmp_path, "paper-carry-cross.toml")
    assert not [event for event in events if event["level"] == "error"]
    coins = {"BTC": D("0.001"), "ETH": D("0.001"), "HYPE": D("0.01")}
    cycles = held_by_cycle(tmp_path)
    assert cycles
    for held in cycles.values():
        for coin, lot in coins.items():
            assert abs(held.get(coin, D(0)) + held.get(f"binance:{coin}", D(0))) <= lot
    last = cycles[max(cycles)]
    both_on = [coin for coin in coins if last.get(coin, 0) and last.get(f"binance:{coin}", 0)]
    assert both_on
    # An hour passes every half second, but not while legs are traded: else each was bare for an hour of the market.
    assert 0 < longest_bare_s(tmp_path, {coin: f"binance:{coin}" for coin in coins}) < 1200
    received = dict(rows(tmp_path, "SELECT instrument, sum(usd) FROM funding GROUP BY 1"))
    assert {name.partition(":")[2] or name for name in received} == set(both_on)
    assert any(name.startswith("binance:") for name in received)
    says_the_ledger_is_right(tmp_path)
    journal = positions_in(tmp_path)
    folder = tmp_path / "state" / "journal"
    paper = account_in(folder)
    assert paper is not None
    (stored,) = folder.glob("devnet-binance-*.json")
    key = cex_signing.unpacked(
        keystore.decrypt(keystore.read(stored).crypto, (folder / PASSWORD).read_text().strip())
    )
    with left_behind(tmp_path) as server:
        here = {name: size for name, size in journal.items() if ":" not in name}
        assert here == positions_at_hyperliquid(server, paper.account)
        client = client_of(
            server.sites["cex"].shown()["url"], {"api_key": key.api_key, "api_secret": key.secret}
        )
        client.options["adjustForTimeDifference"] = True
        client.load_time_difference()
        theirs = {
            f"binance:{each['symbol'].partition('/')[0]}": D(str(each["contracts"]))
            * (1 if each["side"] == "long" else -1)
            for each in client.fetch_positions()
            if each["contracts"]
        }
        assert {name: size for name, size in journal.items() if ":" in name} == theirs
        trades = [
            (f"binance:{coin}", D(str(trade["price"])), D(str(trade["amount"])), D(str(trade["fee"]["cost"])))
            for coin in coins
            for trade in client.fetch_my_trades(f"{coin}/USDT:USDT", limit=1000)
        ]
        told = rows(
            tmp_path,
            "SELECT fill.instrument, price, lots, size_decimals, fee_usd FROM fill"
            " JOIN instrument ON instrument.name = fill.instrument WHERE fill.instrument LIKE 'binance:%'",
        )
        assert sorted(
            (name, D(price), D(lots).scaleb(-decimals), D(fee)) for name, price, lots, decimals, fee in told
        ) == sorted(trades)
        known_ms = max(row[0] for row in rows(tmp_path, "SELECT max(time_ms) FROM funding"))
        income = [
            (f"binance:{each['info']['symbol'].removesuffix('USDT')}", D(str(each["amount"])))
            for each in client.fetch_funding_history(limit=1000)
            if each["timestamp"] <= known_ms
        ]
        paid = rows(tmp_path, "SELECT instrument, usd FROM funding WHERE instrument LIKE 'binance:%'")
        assert sorted((name, D(usd)) for name, usd in paid) == sorted(income)
