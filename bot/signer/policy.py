"""What the signer may sign: a TOML file in which everything that is not allowed is denied.

Dollars become integers of 1e-6 (`_micro`), prices of 1e-8 (`_e8`).
"""

import hashlib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from bot.signer.requests import ADDRESS, COIN, E8

TIFS: Final = frozenset({"Alo", "Gtc", "Ioc"})
ACTIONS: Final = frozenset(
    {
        "order",
        "modify",
        "cancel",
        "cancel_by_cloid",
        "leverage",
        "isolated_margin",
        "schedule_cancel",
        "fence",
    }
)
SPOT_ASSETS: Final = (10_000, 100_000)
"""From the first number of a spot market to below those of other dexes."""

PolicyNetwork = Literal["mainnet", "testnet", "devnet"]
NETWORKS: Final = frozenset({"mainnet", "testnet", "devnet"})


class SignerConfigError(Exception):
    """The policy, keystore or state folder cannot be used; one sentence says what to mend."""


@dataclass(frozen=True, slots=True)
class CoinPolicy:
    """What may be done with one coin. Collars are how far past the reference price an order may pay, in bps."""

    asset: int
    size_decimals: int
    band_low_e8: int
    band_high_e8: int
    max_order_usd_micro: int
    max_position_usd_micro: int
    max_leverage: int
    collar_bps: int
    collar_reduce_bps: int
    collar_trigger_bps: int

    @property
    def is_spot(self) -> bool:
        """Whether it is a spot market, by its number."""
        return SPOT_ASSETS[0] <= self.asset < SPOT_ASSETS[1]


@dataclass(frozen=True, slots=True)
class Policy:
    """Every limit of the file. Rates count per rolling minute, budgets per rolling 24 hours."""

    network: PolicyNetwork
    account: str
    agent: str
    vault: str | None
    agent_valid_until_ms: int | None
    allow: frozenset[str]
    tif: frozenset[str]
    coins: Mapping[str, CoinPolicy]
    max_gross_usd_micro: int
    max_open_orders: int
    turnover_usd_micro_per_day: int
    isolated_margin_usd_micro_per_day: int
    orders_per_min: int
    reduces_per_min: int
    cancels_per_min: int
    actions_per_day: int
    expires_min_ms: int
    expires_max_ms: int
    reference_max_age_ms: int
    reference_max_step_bps_per_s: int
    fences_per_min: int = 240
    cross: bool = False
    opening_triggers: bool = False
    lock_on_forbidden: bool = True
    denials_per_min: int = 20
    reducing_min: int = 10
    max_clock_offset_ms: int = 2_000
    simulated_clock: bool = False
    sha256: str = field(default="", compare=False)

    @property
    def chain(self) -> Literal["mainnet", "testnet"]:
        """The network whose name is inside the signature: a devnet takes the testnet's."""
        return "mainnet" if self.network == "mainnet" else "testnet"

    @property
    def assets(self) -> dict[str, int]:
        """Coin → asset id."""
        return {name: coin.asset for name, coin in self.coins.items()}


class Keys:
    """A TOML table whose keys are taken one by one; what is left over is a mistake."""

    def __init__(self, found: Any, where: str, inherited: Mapping[str, Any] | None = None) -> None:
        if not isinstance(found, dict):
            raise SignerConfigError(f"policy: {where or 'the file'} is not a table")
        self._found, self._where, self._inherited = dict(found), where, dict(inherited or {})

    def wrong(self, key: str, must: str) -> SignerConfigError:
        """The complaint about a key."""
        name = f"{self._where}.{key}" if self._where else key
        return SignerConfigError(f"policy: {name} {must}")

    def take(self, key: str, default: Any = None) -> Any:
        """A key's value, the default, or SignerConfigError where it has to be there."""
        value = self._found.pop(key, self._inherited.get(key, default))
        if value is None:
            raise self.wrong(key, "is missing; what is not limited is not allowed")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within its range."""
        value = self.take(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(key, f"must be a whole number from {low} to {high}")
        return value

    def amount(self, key: str, scale: int, default: int | None = None) -> int:
        """A number of at least 0, as an integer of 1/scale."""
        return self.scaled(key, self.take(key, default), scale)

    def scaled(self, key: str, value: Any, scale: int) -> int:
        """The same for a value at hand."""
        if type(value) not in {int, Decimal} or not Decimal(value).is_finite() or not 0 <= value <= 10**12:
            raise self.wrong(key, "must be a number from 0 to 1e12")
        scaled = Decimal(value) * scale
        if scaled != int(scaled):
            raise self.wrong(key, f"has more decimals than 1/{scale}")
        return int(scaled)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key, default)
        if type(value) is not bool:
            raise self.wrong(key, "must be true or false")
        return value

    def chosen(self, key: str, choices: frozenset[str]) -> frozenset[str]:
        """A list of some of the choices."""
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and v in choices for v in value):
            raise self.wrong(key, f"must be a list out of {', '.join(sorted(choices))}")
        return frozenset(value)

    def address(self, key: str) -> str:
        """An address, in lower case."""
        value = self.take(key)
        if not isinstance(value, str) or ADDRESS.fullmatch(value.lower()) is None:
            raise self.wrong(key, "must be 0x and 40 hex digits")
        return value.lower()

    def has(self, key: str) -> bool:
        """Whether the table itself has the key."""
        return key in self._found

    def end(self) -> None:
        """Complain about keys that nobody took."""
        for key in self._found:
            raise self.wrong(key, "is not a key of a policy; check its spelling")


def read(path: Path) -> Policy:
    """The policy in a file that others cannot write. Raises SignerConfigError."""
    return parse(content(path))


def content(path: Path) -> bytes:
    """The bytes of a file that others cannot write. Raises SignerConfigError."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read()
    except OSError as error:
        raise SignerConfigError(f"policy {path} cannot be read: {error.strerror}") from None
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SignerConfigError(f"policy {path} can be changed by others; chown it to you and chmod go-w it")
    return text


def parse(text: bytes) -> Policy:
    """The policy in a file's bytes. Raises SignerConfigError."""
    try:
        table = tomllib.loads(text.decode("utf-8"), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SignerConfigError(f"policy: not TOML: {error}") from None
    return build(table, hashlib.sha256(text).hexdigest())


def build(table: Any, sha256: str) -> Policy:
    """The policy in a file's table. Raises SignerConfigError."""
    keys = Keys(table, "")
    network = keys.take("network")
    if not isinstance(network, str) or network not in NETWORKS:
        raise keys.wrong("network", f"must be one of {', '.join(sorted(NETWORKS))}")
    shared = {
        key: keys.take(key)
        for key in ("max_order_usd", "collar_bps", "collar_reduce_bps", "collar_trigger_bps")
        if keys.has(key)
    }
    policy = Policy(
        network=network,  # type: ignore[arg-type]
        account=keys.address("account"),
        agent=keys.address("agent"),
        vault=keys.address("vault") if keys.has("vault") else None,
        agent_valid_until_ms=_moment(keys) if keys.has("agent_valid_until") else None,
        allow=keys.chosen("allow", ACTIONS),
        tif=keys.chosen("tif", TIFS),
        coins=_coins(keys.take("coins"), shared),
        max_gross_usd_micro=keys.amount("max_gross_usd", 10**6),
        max_open_orders=keys.integer("max_open_orders", 0, 5000),
        turnover_usd_micro_per_day=keys.amount("turnover_usd_per_day", 10**6),
        isolated_margin_usd_micro_per_day=keys.amount("isolated_margin_usd_per_day", 10**6, 0),
        orders_per_min=keys.integer("orders_per_min", 0, 100_000),
        reduces_per_min=keys.integer("reduces_per_min", 0, 100_000),
        cancels_per_min=keys.integer("cancels_per_min", 0, 100_000),
        actions_per_day=keys.integer("actions_per_day", 0, 10_000_000),
        **_expiry(keys),
        # A devnet's hours may pass in the time of a request.
        reference_max_age_ms=keys.integer(
            "reference_max_age_ms", 1, 86_400_000 if network == "devnet" else 3_600_000
        ),
        reference_max_step_bps_per_s=keys.integer("reference_max_step_bps_per_s", 1, 10_000),
        # A lost order is asked for twice a second at most, one after the other.
        fences_per_min=keys.integer("fences_per_min", 0, 100_000, 240),
        cross=keys.flag("cross", False),
        opening_triggers=keys.flag("opening_triggers", False),
        lock_on_forbidden=keys.flag("lock_on_forbidden", True),
        denials_per_min=keys.integer("denials_per_min", 1, 10_000_000, 20),
        reducing_min=keys.integer("reducing_min", 0, 100_000, 10),
        max_clock_offset_ms=keys.integer("max_clock_offset_ms", 0, 60_000, 2_000),
        simulated_clock=keys.flag("simulated_clock", False),
        sha256=sha256,
    )
    keys.end()
    if policy.simulated_clock and policy.network != "devnet":
        raise keys.wrong("simulated_clock", 'is for network = "devnet" only')
    return policy


def _coins(found: Any, shared: Mapping[str, Any]) -> dict[str, CoinPolicy]:
    if not isinstance(found, dict) or not found:
        raise SignerConfigError("policy: coins must have a table for each coin, such as [coins.BTC]")
    coins = {name: _coin(name, table, shared) for name, table in found.items()}
    ids = [coin.asset for coin in coins.values()]
    if len(set(ids)) != len(ids):
        raise SignerConfigError("policy: two coins have the same asset id")
    return coins


def _coin(name: str, table: Any, shared: Mapping[str, Any]) -> CoinPolicy:
    keys = Keys(table, f"coins.{name}", shared)
    if COIN.fullmatch(name) is None:
        raise keys.wrong("", "is not a coin's name")
    band = keys.take("band")
    if not isinstance(band, list) or len(band) != 2:
        raise keys.wrong("band", "must be [lowest price, highest price]")
    low, high = (keys.scaled("band", price, E8) for price in band)
    if not 0 < low < high:
        raise keys.wrong("band", "must have a lowest price above 0 and below the highest")
    coin = CoinPolicy(
        asset=keys.integer("asset", 0, 2**31),
        size_decimals=keys.integer("size_decimals", 0, 8),
        band_low_e8=low,
        band_high_e8=high,
        max_order_usd_micro=keys.amount("max_order_usd", 10**6),
        max_position_usd_micro=keys.amount("max_position_usd", 10**6),
        max_leverage=keys.integer("max_leverage", 0, 1000),
        collar_bps=keys.integer("collar_bps", 0, 9_999),
        collar_reduce_bps=keys.integer("collar_reduce_bps", 0, 9_999),
        collar_trigger_bps=keys.integer("collar_trigger_bps", 0, 9_999),
    )
    keys.end()
    return coin


def _expiry(keys: Keys) -> dict[str, int]:
    found = keys.take("expires_ms")
    if not isinstance(found, list) or len(found) != 2 or not all(type(v) is int for v in found):
        raise keys.wrong("expires_ms", "must be [shortest, longest] in milliseconds")
    low, high = found
    if not 1 <= low <= high <= 86_400_000:
        raise keys.wrong("expires_ms", "must lie within 1 and 86400000, shortest first")
    return {"expires_min_ms": low, "expires_max_ms": high}


def _moment(keys: Keys) -> int:
    value = keys.take("agent_valid_until")
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise keys.wrong(
            "agent_valid_until", "must be a moment with its offset, such as 2027-01-31T00:00:00Z"
        )
    return int(value.timestamp() * 1000)
