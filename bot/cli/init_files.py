"""The config that `hedgerow init` writes, and how it writes: only for its owner, whole or not at all."""

import contextlib
import json
import os
from pathlib import Path
from typing import Final

from bot.errors import ConfigError
from bot.signer.draft import position_usd

LEAST_USD: Final = 11
FREE_SHARE: Final = 0.8
"""What of the policy's limit the daemon uses itself, so that a price that moves in between breaks no limit."""


def config_text(
    network: str, url: str, account: str, coins: tuple[str, ...], capital_usd: int, socket: Path | None
) -> str:
    """A config for a live start: one strategy, small limits."""
    signer = "" if socket is None else f"signer = {json.dumps(str(socket), ensure_ascii=False)}\n"
    position = position_usd(capital_usd, len(coins))
    wanted = int(position * FREE_SHARE)
    if wanted < LEAST_USD:
        raise ConfigError(
            f"${capital_usd} over {len(coins)} coins is ${wanted} each, and the venue takes no order below $10; give more "
            f"capital or fewer coins"
        )
    return f"""\
# Hyperliquid {network}. The signer has to run before this:
#
#     hedgerow run hyperliquid-{network}.toml

version = 1
name = "hyperliquid-{network}"
mode = "live"

[venue]
kind = "hyperliquid"
network = "{network}"
url = {json.dumps(url)}
account = "{account}"
coins = {json.dumps(list(coins))}
{signer}
[account]
leverage = 3
margin_mode = "cross"

[sizing]
position_size = 0.25        # of a strategy's capital, at score 1

[limits]                    # the signer's policy has the last word: ${position} a coin, ${capital_usd} in all
max_position_usd = {wanted}
max_gross_leverage = 1.0
max_drawdown = 0.10
max_daily_loss = 0.03

[execution]
style = "taker"
stop_loss = 0.15            # rests at the venue, so that a dead daemon is still protected

[[strategies]]
plugin = "funding_carry"

[journal]
path = "state/hyperliquid-{network}.sqlite"
"""


def write(path: Path, text: str) -> None:
    """Write a file of mode 0600 as a whole, making its folder where there is none. Raises ConfigError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
