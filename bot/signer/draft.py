"""A first policy: few coins, small limits, everything that is not named denied."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from bot.signer import policy
from bot.signer.policy import PolicyNetwork

BAND: Final = 4
"""A coin may cost a fourth to four times of what it costs now, whatever prices the signer is told."""


@dataclass(frozen=True, slots=True)
class DraftCoin:
    """A coin as the venue lists it, and its price now."""

    name: str
    asset: int
    size_decimals: int
    price: Decimal
    max_leverage: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a first policy is made of. `capital_usd` is the most that may be held, longs plus shorts."""

    network: PolicyNetwork
    master: str
    vault: str | None
    agent: str
    valid_until: str | None  # ISO 8601 with a Z
    coins: tuple[DraftCoin, ...]
    capital_usd: int
    leverage: int
    source: str  # where the coins' numbers were taken from

    @property
    def position_usd(self) -> int:
        """The most that may be held of one coin: half the capital, or less where there are more than two coins."""
        return position_usd(self.capital_usd, len(self.coins))


def position_usd(capital_usd: int, coins: int) -> int:
    """A coin's part, so that all coins together stay within the capital."""
    return capital_usd // max(coins, 2)


def text(draft: Draft) -> str:
    """The policy's file, read once as the signer will read it. Raises SignerConfigError."""
    devnet = draft.network == "devnet"
    until = f"agent_valid_until = {draft.valid_until}\n" if draft.valid_until else ""
    vault = f'vault = "{draft.vault}"\n' if draft.vault else ""
    # A devnet's hours may pass in seconds, and an order's life is counted in the devnet's time.
    clock = (
        "simulated_clock = true\nexpires_ms = [1000, 86400000]" if devnet else "expires_ms = [5000, 20000]"
    )
    found = f"""\
# What the signer may sign. Everything that is not named here is denied; docs/signer.md explains each key.

network = "{draft.network}"
account = "{draft.master}"
{vault}agent = "{draft.agent}"
{until}allow = ["order", "cancel", "leverage", "fence", "schedule_cancel"]
tif = ["Alo", "Gtc", "Ioc"]

# Money. Longs and shorts add up.
max_gross_usd = {draft.capital_usd}
max_order_usd = {draft.position_usd}
turnover_usd_per_day = {draft.capital_usd * 5}
cross = true

# Rates.
max_open_orders = {10 * len(draft.coins)}
orders_per_min = {10 * len(draft.coins)}
reduces_per_min = {20 * len(draft.coins)}
cancels_per_min = {30 * len(draft.coins)}
denials_per_min = {20 * len(draft.coins)}
actions_per_day = 2000
{clock}

# Prices. An order may pay this many bps past the reference price; what only reduces may pay more to get out.
collar_bps = 100
collar_reduce_bps = 600
collar_trigger_bps = 1200
reference_max_age_ms = 15000
reference_max_step_bps_per_s = 50

# Coins by their numbers in {draft.source}.
"""
    return _checked(found, draft, draft.position_usd, draft.leverage)


def guard_text(draft: Draft) -> str:
    """The policy of a guard, which cancels and reduces: whatever opens a position is out of its reach by every limit."""
    until = f"agent_valid_until = {draft.valid_until}\n" if draft.valid_until else ""
    vault = f'vault = "{draft.vault}"\n' if draft.vault else ""
    devnet = draft.network == "devnet"
    clock = (
        "simulated_clock = true\nexpires_ms = [1000, 86400000]" if devnet else "expires_ms = [5000, 20000]"
    )
    found = f"""\
# What the guard's signer may sign: cancels, and orders that only reduce. docs/guard.md explains it, docs/signer.md each key.

network = "{draft.network}"
account = "{draft.master}"
{vault}agent = "{draft.agent}"
{until}allow = ["order", "cancel"]
tif = ["Ioc"]

# Nothing may be opened: not in dollars, not in orders. What only reduces is asked for none of these.
orders_per_min = 0
max_order_usd = 0
max_gross_usd = 0
turnover_usd_per_day = 0
max_open_orders = 0
actions_per_day = 0

# Rates of what remains.
reduces_per_min = {20 * len(draft.coins)}
cancels_per_min = {30 * len(draft.coins)}
{clock}

# Prices. How far past the reference price, in bps, a position may be closed; and past a stop's level.
collar_bps = 0
collar_reduce_bps = 1000
collar_trigger_bps = 1200
reference_max_age_ms = 15000
reference_max_step_bps_per_s = 50

# Coins by their numbers in {draft.source}.
"""
    return _checked(found, draft, 0, 0)


def _checked(head: str, draft: Draft, position_usd: int, leverage: int) -> str:
    """The whole file, read once as the signer will read it."""
    found = head + "".join(_coin(coin, position_usd, leverage) for coin in draft.coins)
    policy.parse(found.encode())
    return found


def _coin(coin: DraftCoin, position_usd: int, leverage: int) -> str:
    low, high = _short(coin.price / BAND, ROUND_FLOOR), _short(coin.price * BAND, ROUND_CEILING)
    return f"""
[coins.{toml_key(coin.name)}]
asset = {coin.asset}
size_decimals = {coin.size_decimals}
band = [{low:f}, {high:f}]
max_position_usd = {position_usd}
max_leverage = {min(leverage, coin.max_leverage)}
"""


def toml_key(coin: str) -> str:
    """A coin's name as a key: that of a spot market has to stand in quotes."""
    return coin if coin.isalnum() else f'"{coin}"'


def _short(price: Decimal, rounding: str) -> Decimal:
    """Two significant digits."""
    return price.quantize(Decimal(1).scaleb(price.adjusted() - 1), rounding=rounding)
