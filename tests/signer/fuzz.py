"""Hostile and honest requests by the million, each answer held against the oracle.

    python -m tests.signer.fuzz --requests 1000000 [--seed 1]

The signer is killed and started anew every 10,000 requests. Prints one JSON object: `escapes` were signed though the
oracle forbids it, or say something else than was asked for; `false_denials` were refused though it allows them;
`faults` locked the signer. The exit code is 1 where there is any.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from bot.signer import signing
from tests.signer.oracle import Oracle
from tests.signer.support import AGENT, PEER, Desk, changed

ASSETS = {"BTC": 3, "ETH": 4}
BANDS = {"BTC": (Fraction(40_000), Fraction(250_000)), "ETH": (Fraction(800), Fraction("12000.5"))}
LARGEST_USD = {"BTC": 2_500, "ETH": 1_000}
DECIMALS = {"BTC": 5, "ETH": 4}
RESTART_EVERY = 10_000
WAITS_MS = (0, 1, 20, 300, 4_000, 61_000, 7_000_000)
WAIT_WEIGHTS = (30, 30, 30, 10, 2, 0.5, 0.6)
"""Days pass quickly enough that the day's budgets are met, and not so slowly that they are all that is met."""

FORBIDDEN = (
    "withdraw3",
    "usdSend",
    "approveAgent",
    "usd_class_transfer",
    "sign_hash",
    "vaultTransfer",
    "twapOrder",
)
HOSTILE: tuple[Any, ...] = (
    *(
        "1E-400",
        "1e5",
        "0x10",
        "1_000",
        "１００",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1.",
        ".5",
        "00.1",
        "",
        "NaN",
        "Infinity",
    ),
    *("0", "0.00000001", "0.000000001", "999999999", "1000000000", "999999999.99999999", "50001", "49999"),
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**53,
        2**53 + 1,
        10**400,
        1.5,
        [],
        {},
        [[]],
        {"a": 1},
        "buy",
        "sell",
        "X",
        "Gtc",
    ),
    *(
        "0x",
        "0x" + "A" * 32,
        "0x" + "0" * 33,
        "0x" + "0" * 31 + "\n",
        "BTC",
        "DOGE",
        "btc",
        "BTC\n",
        "ETH\x00",
    ),
)


class Fuzz:
    """A stream of requests from one seed."""

    def __init__(self, seed: int, folder: Path, text: str = "") -> None:
        """Of the policy in `text`, which has the coins of the usual one; by default of that."""
        self.rng = random.Random(seed)
        rates = {"orders_per_min": 14, "reduces_per_min": 8, "cancels_per_min": 50, "actions_per_day": 700}
        rates["fences_per_min"] = 3
        text = text or changed(lock_on_forbidden=False, denials_per_min=10_000_000, **rates)
        self.desk = Desk(folder, text)
        self.oracle = Oracle(tomllib.loads(text, parse_float=Decimal))
        self.mid = {"BTC": Fraction(50_000), "ETH": Fraction(2_000)}
        self.nonces: list[int] = []
        self.times: list[int] = []  # when something was signed
        self.is_new = False  # nothing was reported since the last start
        self.cloid = 0
        self.counts = {"signed": 0, "denied": 0, "told": 0, "escapes": 0, "false_denials": 0, "faults": 0}

    def step(self) -> None:
        """One request, its answer, and the oracle's opinion."""
        desk = self.desk
        self.wait()
        packet = self.packet()
        request = self.oracle.judge(packet, desk.wall_ms)
        answer = json.loads(desk.engine.handle(packet, PEER))
        ok = answer.get("ok")
        if "locked" in answer:
            self.counts["faults"] += 1
            desk.engine.locked = None
        elif ok is None:
            self.counts["denied"] += 1
            self.counts["false_denials"] += request is not None
        elif request is None:
            self.counts["escapes"] += 1
        else:
            nonce = ok.get("nonce")
            self.counts["told" if nonce is None else "signed"] += 1
            if nonce is not None:
                self.counts["escapes"] += not self.right(request, ok)
                self.nonces = [*self.nonces[-200:], nonce]
                self.times = [*self.times[-2_000:], desk.wall_ms]
                self.is_new = self.is_new and self.rng.random() < 0.9
            self.oracle.took(request, nonce)

    def wait(self) -> None:
        """Let time pass; now and then to where a window's edge is, and then prices may have gone anywhere."""
        rng, desk = self.rng, self.desk
        wait_ms = rng.choices(WAITS_MS, WAIT_WEIGHTS)[0]
        if self.is_new and rng.random() < 0.98:
            wait_ms = min(
                wait_ms, 20
            )  # so that what was in flight before has not expired yet when it is asked for more
        if self.times and not self.is_new and rng.random() < 0.02:
            oldest_ms = next((at for at in self.times if at > desk.wall_ms - 60_000), self.times[-1])
            wait_ms = max(wait_ms, oldest_ms + 60_000 - rng.randint(0, 1) - desk.wall_ms)
        elif self.times and rng.random() < 0.0005:
            edge_ms = rng.choice(self.times) + 86_400_000 - rng.randint(0, 1)
            wait_ms = max(wait_ms, edge_ms - desk.wall_ms)
        desk.wait(wait_ms)
        if wait_ms >= 61_000:
            for coin, (low, high) in BANDS.items():
                at = rng.choice((low * Fraction("1.002"), high * Fraction("0.998"), low + (high - low) / 10))
                if wait_ms >= 7_000_000:
                    self.mid[coin] = at
                elif rng.random() < 0.3:
                    self.mid[coin] = min(max(self.mid[coin] * rng.randint(80, 125) / 100, low), high)

    def found(self) -> int:
        """How many answers were wrong."""
        return self.counts["escapes"] + self.counts["false_denials"] + self.counts["faults"]

    def restart(self) -> None:
        """As after a kill, now and then long after prices were written down."""
        if self.rng.random() < 0.8:
            self.desk.engine.tick()
            self.desk.engine.kept.write()
            self.oracle.wrote_down()
        self.desk.again()
        self.oracle.restarted(int((self.desk.folder / "nonce").read_text()))
        self.is_new = True

    def right(self, request: dict[str, Any], ok: dict[str, Any]) -> bool:
        """What was signed is what was asked for, with a nonce never used and, now and then, a signature that is right."""
        body = json.loads(ok["body"])
        action, nonce, expires = body["action"], body["nonce"], body["expiresAfter"]
        if body["vaultAddress"] is not None or nonce != ok["nonce"] or expires != ok["expires_after_ms"]:
            return False
        if expires != (self.desk.wall_ms + request["expires_in_ms"] if "expires_in_ms" in request else None):
            return False
        if request["do"] == "fence":
            return bool(action == {"type": "noop"} and nonce == request["nonce"])
        if nonce <= self.oracle.highest:
            return False
        if self.rng.random() < 0.02:
            hashed = signing.keccak256(signing.action_bytes(action, None, nonce, expires))
            digest, signature = signing.l1_digest(hashed, "testnet"), signing.Signature(**body["signature"])
            if signing.recover(digest, signature) != AGENT:
                return False
        return self.says(request, action)

    def says(self, r: dict[str, Any], action: dict[str, Any]) -> bool:
        """The action says what the request says, and nothing else."""
        kind, do = action["type"], r["do"]
        if do == "order":
            pairs = zip(r["orders"], action["orders"], strict=True)
            whole = set(action) == {"type", "orders", "grouping"} and action["grouping"] == r["grouping"]
            return whole and kind == "order" and all(self.same(asked, made) for asked, made in pairs)
        if do == "modify":
            both = zip(r["modifies"], action["modifies"], strict=True)
            whole = kind == "batchModify" and action.get("a", False) is r["always"]
            return whole and all(a["oid"] == m["oid"] and self.same(a["order"], m["order"]) for a, m in both)
        if do in {"cancel", "cancel_by_cloid"}:
            names = ("a", "o", "oid") if do == "cancel" else ("asset", "cloid", "cloid")
            rows = [{names[0]: ASSETS[c["coin"]], names[1]: c[names[2]]} for c in r["cancels"]]
            expected = {"type": "cancel" if do == "cancel" else "cancelByCloid", "cancels": rows}
            return action == expected | ({"f": True} if r["fast"] else {})
        if do == "leverage":
            cross = {"isCross": r["is_cross"], "leverage": r["leverage"]}
            return action == {"type": "updateLeverage", "asset": ASSETS[r["coin"]]} | cross
        if do == "isolated_margin":
            told = {"isBuy": True, "ntli": r["usd_micro"]}
            return action == {"type": "updateIsolatedMargin", "asset": ASSETS[r["coin"]]} | told
        time = {} if r["time_ms"] is None else {"time": r["time_ms"]}
        return action == {"type": "scheduleCancel"} | time

    @staticmethod
    def same(asked: dict[str, Any], made: dict[str, Any]) -> bool:
        """An order of the action says what the request's order says."""
        told = asked["trigger"]
        kind = (
            {"limit": {"tif": asked["tif"]}}
            if told is None
            else {"isMarket": told["is_market"], "tpsl": told["kind"]}
        )
        if told is not None:
            fires = made["t"]["trigger"].pop("triggerPx")
            made["t"] = made["t"]["trigger"]
            if Fraction(fires) != Fraction(told["price"]):
                return False
        return (
            made["a"] == ASSETS[asked["coin"]]
            and made["b"] is (asked["side"] == "buy")
            and Fraction(made["p"]) == Fraction(asked["price"])
            and Fraction(made["s"]) == Fraction(asked["size"])
            and made["r"] is asked["reduce_only"]
            and made["c"] == asked["cloid"]
            and made["t"] == kind
        )

    def packet(self) -> bytes:
        """A request as bytes: honest, bent in a place, or torn."""
        rng = self.rng
        request = self.honest()
        if rng.random() < 0.35:
            for _ in range(rng.randint(1, 2)):
                self.bend(request)
        text = json.dumps(request, ensure_ascii=rng.random() < 0.9)
        if rng.random() < 0.03:
            place = rng.randrange(len(text))
            text = rng.choice(
                (
                    text[:place],
                    text[:place] + chr(rng.randrange(128)) + text[place + 1 :],
                    text.replace('"do"', '"do": "status", "do"', 1),
                    text.replace('"id"', '"id": 1, "id"', 1),
                    text + " " * 20_000,
                    "[" * 5_000,
                    text.replace("}", ', "x": NaN}', 1),
                )
            )
        return text.encode("utf-8", "surrogatepass")

    def bend(self, request: Any) -> None:
        """Change one place of a request, anywhere."""
        rng, here = self.rng, request
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                return
            key = rng.choice(keys)
            if isinstance(here[key], dict | list) and here[key] and rng.random() < 0.85:
                here = here[key]
                continue
            kind = rng.random()
            if kind < 0.15 and isinstance(here, dict):
                del here[key]
            elif kind < 0.25 and isinstance(here, dict):
                here[rng.choice(("x", "nonce", "vaultAddress", "builder", "coin", ""))] = deepcopy(
                    rng.choice(HOSTILE)
                )
            elif kind < 0.4 and isinstance(here[key], str):
                here[key] = rng.choice(("0{}", "{}0", " {}", "{}\n", "-{}", "{}.", "{}.0", "{}e0")).format(
                    here[key]
                )
            elif kind < 0.5 and type(here[key]) is int:
                here[key] += rng.choice((-1, 1, 10**6, -(10**6)))
            else:
                here[key] = deepcopy(rng.choice(HOSTILE))
            return

    def near(self, coin: str, bps: int) -> str:
        """A price within so many bps of the mid, as text."""
        price = self.mid[coin] * (10_000 + self.rng.randint(-bps, bps)) / 10_000
        return f"{float(price):.{self.rng.choice((0, 1, 2))}f}"

    def order(self, coin: str = "", side: str = "") -> dict[str, Any]:
        """An order that may well be right, or wrong by a hair."""
        rng = self.rng
        coin, side = coin or rng.choice(("BTC", "ETH")), side or rng.choice(("buy", "sell"))
        reduce = rng.random() < 0.3
        most, mid = LARGEST_USD[coin], self.mid[coin]
        usd = rng.choice((20, 100, most // 4, most - 1, most + 1))
        size, price = f"{usd / float(mid):.{DECIMALS[coin]}f}", self.near(coin, 230 if reduce else 70)
        if rng.random() < 0.1 and float(size):
            # As much as one order may be worth, and the 1e-8 of price that is too much.
            ticks = Fraction(LARGEST_USD[coin]) / Fraction(size) * 10**8 // 1 + rng.randint(0, 1)
            price = f"{ticks // 10**8}.{ticks % 10**8:08d}"
        fires = self.near(coin, 300) if reduce and rng.random() < 0.4 else None
        if rng.random() > 0.05:
            self.cloid += 1
        condition = {"kind": rng.choice(("tp", "sl")), "price": fires, "is_market": True}
        return {
            "coin": coin,
            "side": side,
            "size": size,
            "price": price,
            "reduce_only": reduce,
            "cloid": f"0x{self.cloid:032x}",
            "tif": None if fires else rng.choice(("Alo", "Gtc", "Ioc")),
            "trigger": condition if fires else None,
        }

    def orders(self) -> list[dict[str, Any]]:
        """A batch, sometimes all of it one way."""
        rng = self.rng
        if rng.random() < 0.1:
            coin, side = rng.choice(("BTC", "ETH")), rng.choice(("buy", "sell"))
            size = f"{(LARGEST_USD[coin] * 0.99) / float(self.mid[coin]):.{DECIMALS[coin]}f}"
            plain = {"size": size, "reduce_only": False, "tif": "Gtc", "trigger": None}
            return [
                self.order(coin, side) | plain | {"price": self.near(coin, 20)}
                for _ in range(rng.randint(3, 9))
            ]
        return [self.order() for _ in range(rng.choice((1, 1, 1, 2, 4)))]

    def report(self) -> dict[str, Any]:
        """Positions, and up to which nonce their outcome is known: rarely all of them."""
        rng = self.rng
        held = {c: {"size": rng.choice(("0", "0.02", "-0.01")), "buys": "0", "sells": "0"} for c in self.mid}
        last = max(self.nonces, default=0)
        some = rng.choice(self.nonces[-6:]) if self.nonces else 0
        beyond = self.oracle.highest + 1
        through = max(0, rng.choices((last, last - 1_000, some, some - 1, 0, beyond), (6, 2, 3, 3, 1, 1))[0])
        if self.is_new and rng.random() < 0.8:
            through = 0
        told = {"positions": held, "open_orders": rng.choice((0, 5, 33, 37)), "through_nonce": through}
        return told | {"at_ms": self.desk.wall_ms}

    def honest(self) -> dict[str, Any]:
        """A request of the protocol."""
        rng, now = self.rng, self.desk.wall_ms
        kinds = (
            "prices",
            "positions",
            "order",
            "modify",
            "cancel",
            "cancel_by_cloid",
            "leverage",
            "isolated_margin",
        )
        kind = rng.choices(
            (*kinds, "schedule_cancel", "fence", "forbidden"), (30, 6, 40, 4, 5, 5, 1, 1, 1, 2, 1)
        )[0]
        request: dict[str, Any] = {"id": rng.randrange(10**6), "do": kind}
        if kind == "prices":
            for coin, price in self.mid.items():
                self.mid[coin] = price * (10_000 + rng.randint(-8, 8)) / 10_000
            return request | {
                "at_ms": now - rng.randint(0, 50),
                "prices": {c: self.near(c, rng.choice((3, 3, 3, 60))) for c in self.mid},
            }
        if kind == "positions":
            return request | self.report()
        if kind == "order":
            grouping = rng.choices(("na", "normalTpsl", "positionTpsl"), (8, 1, 1))[0]
            return request | {
                "orders": self.orders(),
                "grouping": grouping,
                "expires_in_ms": rng.choice((5_000, 15_000, 9_999, 9_999, 4_999, 15_001)),
            }
        if kind == "modify":
            modifies = [{"oid": rng.choice((7, f"0x{7:032x}")), "order": self.order()}]
            return request | {"modifies": modifies, "always": rng.random() < 0.5, "expires_in_ms": 6_000}
        if kind == "cancel":
            return request | {"cancels": [{"coin": "BTC", "oid": 5}] * rng.randint(1, 33), "fast": False}
        if kind == "cancel_by_cloid":
            return request | {
                "cancels": [{"coin": "ETH", "cloid": f"0x{5:032x}"}] * rng.randint(1, 8),
                "fast": True,
            }
        if kind == "leverage":
            return request | {"coin": "ETH", "leverage": rng.randint(1, 6), "is_cross": rng.random() < 0.2}
        if kind == "isolated_margin":
            return request | {"coin": "BTC", "usd_micro": rng.randint(-400, 400) * 1_000_000}
        if kind == "schedule_cancel":
            return request | {"time_ms": rng.choice((None, now + 5_000, now + 4_999, now + 10**8))}
        if kind == "fence":
            return request | {"nonce": rng.choice([*self.nonces[-5:], now, 1])}
        return request | {"do": rng.choice(FORBIDDEN), "amount": "1"}


def run(
    requests: int,
    seed: int,
    seconds: float | None = None,
    *,
    stop_at_first: bool = False,
    tell: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """So many requests (or as many as fit into the seconds) from a seed; what came of them.

    `tell` hears how many are done, now and then.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        fuzz = Fuzz(seed, Path(folder))
        start, done = time.monotonic(), 0
        while done < requests and (seconds is None or done % 100 or time.monotonic() - start < seconds):
            fuzz.step()
            done += 1
            if stop_at_first and fuzz.found():
                break
            if done % RESTART_EVERY == 0:
                fuzz.restart()
                if tell is not None:
                    tell(done)
        wall_s = round(time.monotonic() - start, 1)
    return {"requests": done, "seed": seed, **fuzz.counts, "wall_s": wall_s}


def main() -> None:
    """The whole run, as a command."""
    options = argparse.ArgumentParser(description="Fuzz the signer against an oracle of its policy.")
    options.add_argument("--requests", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--stop-at-first", action="store_true", help="End with the first wrong answer.")
    chosen = options.parse_args()
    say = sys.stderr.write if sys.stderr.isatty() else None
    result = run(
        chosen.requests,
        chosen.seed,
        stop_at_first=chosen.stop_at_first,
        tell=None if say is None else lambda done: say(f"\r{done}"),
    )
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(bool(result["escapes"] or result["false_denials"] or result["faults"]))


if __name__ == "__main__":
    main()
