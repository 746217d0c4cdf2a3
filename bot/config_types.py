"""The kinds of values that a config may hold: their grammar, how a person writes them, and the table they stand in."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bot.clock import parse_utc
from bot.errors import ConfigError
from bot.text import COIN_PATTERN


def _none(value: object) -> object:
    """`"none"` switches an optional key off, since TOML has no word for it."""
    return None if value == "none" else value


def _distinct(coins: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((coin for coin in coins if coins.count(coin) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice; name each coin once")
    return coins


def _moment(value: object) -> object:
    """A date as text, whether or not the file has quotes around it; must be one that `parse_utc` reads."""
    if isinstance(value, datetime | date):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            parse_utc(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return value


T = TypeVar("T")
Maybe = Annotated[T | None, BeforeValidator(_none)]
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$", title="a name of up to 40 letters, digits, - and _")
]
Coin = Annotated[str, Field(pattern=COIN_PATTERN, title="a coin's name, such as BTC or kPEPE")]
Coins = Annotated[tuple[Coin, ...], Field(strict=False), AfterValidator(_distinct)]
Moment = Annotated[str, BeforeValidator(_moment)]
Location = Annotated[Path, Field(strict=False)]
Url = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/[^\s?#]*)?$", title="an address of http or https")
]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", title="0x and 40 hex digits")]
Money = Annotated[Decimal, Field(strict=False, gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]  # a share that is never the whole: 1 meant as 1 % is a mistake
PriceSource = Literal["hl", "okx", "binance", "bybit"]


class Section(BaseModel):
    """A table of the config: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )
