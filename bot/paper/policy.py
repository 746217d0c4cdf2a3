"""The signer's policy for a paper run: written anew at each start from the config, so that it can't be out of date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bot.errors import ConfigError
from bot.signer.draft import toml_key

BAND: Final = Decimal(1000)  # a made-up market may go anywhere; the collar follows it
REFERENCE_AGE_S: Final = 10
LONGEST_REFERENCE_AGE_MS: Final = 86_400_000
FIRST_SPOT_ASSET: Final = 10_000
DENIALS_PER_COIN: Final = 1_000  # far more than a cycle can make: here nobody tries what may be signed


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the signer may sign, in USD; `collar_bps` is how far from the reference price."""

    max_order_usd: Decimal
    max_position_usd: Decimal
    max_gross_usd: Decimal
    turnover_usd_per_day: Decimal
    collar_bps: int
    orders_per_min: int
    max_leverage: int


def policy_text(
    account: str, agent: str, coins: Sequence[str], listed: Mapping[str, Any], bounds: Bounds, speed: float
) -> str:
    """The policy as TOML. `listed` has each coin's asset, size_decimals, max_leverage and mark, as `listed_in` and
    `pairs_in` tell them.

    ConfigError for a coin that is not listed.
    """
    lines = [
        "# Written by `hedgerow run` at each start; changes are lost. Its limits are the config's [policy].",
        'network = "devnet"',
        "simulated_clock = true",
        f'account = "{account}"',
        f'agent = "{agent}"',
        'allow = ["order", "cancel", "leverage", "fence", "schedule_cancel"]',
        'tif = ["Alo", "Gtc", "Ioc"]',
        "cross = true",
        "expires_ms = [1000, 86400000]",
        *limits_of(bounds, len(coins), speed),
    ]
    for coin in coins:
        found = listed.get(coin)
        if found is None:
            raise ConfigError(f"the devnet does not list {coin}; it lists {', '.join(listed)}")
        mark = Decimal(found["mark"])
        lines += [
            "",
            f"[coins.{toml_key(coin)}]",
            f"asset = {found['asset']}",
            f"size_decimals = {found['size_decimals']}",
            f"band = [{places(mark / BAND)}, {places(mark * BAND)}]",
            f"max_position_usd = {bounds.max_position_usd:f}",
            f"max_leverage = {min(bounds.max_leverage, found['max_leverage'])}",
        ]
    return "\n".join(lines) + "\n"


def limits_of(bounds: Bounds, coins: int, speed: float) -> list[str]:
    """The policy's lines that are limits, for so many coins in a market that runs `speed` times as fast."""
    age_ms = min(int(REFERENCE_AGE_S * 1000 * max(speed, 1.0)), LONGEST_REFERENCE_AGE_MS)
    return [
        f"max_order_usd = {bounds.max_order_usd:f}",
        f"max_gross_usd = {bounds.max_gross_usd:f}",
        f"turnover_usd_per_day = {bounds.turnover_usd_per_day:f}",
        "isolated_margin_usd_per_day = 0",
        "max_open_orders = 1000",
        f"orders_per_min = {bounds.orders_per_min}",
        f"reduces_per_min = {bounds.orders_per_min}",
        f"cancels_per_min = {5 * bounds.orders_per_min}",
        "actions_per_day = 1000000",
        f"collar_bps = {bounds.collar_bps}",
        f"collar_reduce_bps = {5 * bounds.collar_bps}",
        "collar_trigger_bps = 9000",
        f"reference_max_age_ms = {age_ms}",
        "reference_max_step_bps_per_s = 10000",
        f"denials_per_min = {max(10_000, DENIALS_PER_COIN * coins)}",
    ]


def places(value: Decimal) -> str:
    """A price as a policy writes it."""
    return f"{value.quantize(Decimal('1e-8')):f}"


def listed_in(reply: Any) -> dict[str, dict[str, Any]]:
    """Coins of a metaAndAssetCtxs reply by name."""
    universe, contexts = reply[0]["universe"], reply[1]
    return {
        row["name"]: {
            "asset": index,
            "size_decimals": row["szDecimals"],
            "max_leverage": row["maxLeverage"],
            "mark": context["markPx"],
        }
        for index, (row, context) in enumerate(zip(universe, contexts, strict=True))
    }


def pairs_in(reply: Any) -> dict[str, dict[str, Any]]:
    """Spot markets of a spotMetaAndAssetCtxs reply by what people call them: UBTC/USDC. They have no leverage."""
    meta, contexts = reply
    tokens = {token["index"]: token for token in meta["tokens"]}
    marks = {context["coin"]: context["markPx"] for context in contexts}
    return {
        "/".join(tokens[index]["name"] for index in row["tokens"]): {
            "asset": FIRST_SPOT_ASSET + row["index"],
            "size_decimals": tokens[row["tokens"][0]]["szDecimals"],
            "max_leverage": 1,
            "mark": marks[row["name"]],
        }
        for row in meta["universe"]
    }
