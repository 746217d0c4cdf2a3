"""The parts of a config that are about spreads: which legs are held against each other, and variants to compare."""

from typing import Any

from pydantic import Field

from bot.config_types import Name, Section


class SpreadSettings(Section):
    """[[spreads]]: two legs of one coin, held against each other by the strategies that trade on spreads."""

    primary: str = Field(min_length=1, description="the perpetual that opinions are about, such as BTC")
    hedge: str = Field(
        min_length=1, description="what it is held against, such as UBTC/USDC (spot) or binance:BTC"
    )


class VariantSettings(Section):
    """[[variants]]: the same run once more with other parameters, for a table beside the report."""

    name: Name = Field(description="what the table calls it")
    strategy: Name = Field(description="the strategy whose parameters differ")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="those that differ, with their values"
    )
