"""[sizing], [limits] and [execution]: how opinions become quantities, what none may exceed, how orders are sent."""

from typing import Annotated, Literal

from pydantic import Field

from bot.config_types import Maybe, Money, Part, Section, Share


class SizingSettings(Section):
    """[sizing]: how opinions become quantities."""

    volatility_target: Maybe[Annotated[float, Field(gt=0, le=10)]] = Field(
        None,
        description="annualised volatility one position aims at, as a fraction of the strategy's capital; none = off",
    )
    volatility_lookback_h: int = Field(168, ge=2, description="hours over which volatility is measured")
    position_size: float = Field(
        0.25, gt=0, le=10, description="share of the strategy's capital in one position at score 1"
    )
    no_trade_band: float = Field(
        0.25,
        ge=0,
        allow_inf_nan=True,
        description="a position is changed only when wanted and held differ by more than this share; inf = never resize",
    )
    cooldown_h: int = Field(
        24, ge=0, description="hours a coin is left alone after a stop, a liquidation or a settlement"
    )


class LimitSettings(Section):
    """[limits]: the risk rules' bounds; each can only shrink a target."""

    max_position_usd: Maybe[Money] = Field(
        None, description="largest notional of one position, USD; none = no limit"
    )
    max_position_share: float = Field(
        1.0, gt=0, le=50, description="largest notional of one position, share of equity"
    )
    max_gross_leverage: float = Field(3.0, gt=0, le=50, description="sum of notionals over equity")
    max_net_leverage: float = Field(
        2.0, gt=0, le=50, description="longs minus shorts over equity, either sign"
    )
    max_open_interest_share: Share = Field(0.02, description="largest share of a coin's open interest")
    max_volume_share: Share = Field(0.05, description="largest share of a coin's volume of the last 24 h")
    max_data_age_h: int = Field(3, ge=1, description="hours after which market data is stale")
    max_mark_deviation: Share = Field(0.10, description="largest gap of mark to oracle price, a fraction")
    min_free_margin: float = Field(0.2, ge=0, lt=1, description="margin kept free, share of equity")
    min_liquidation_distance: float = Field(
        0.10, ge=0, lt=1, description="smallest price move that would liquidate, a fraction of the price"
    )
    stress_move: float = Field(
        0.15, ge=0, lt=1, description="price move of all coins together in the stress, a fraction"
    )
    stress_loss: Share = Field(0.5, description="largest loss in the stress, share of equity")
    max_daily_loss: Part = Field(0.05, description="loss in a UTC day that stops new risk, share of equity")
    max_drawdown: Part = Field(
        0.25, description="fall from the high-water mark that closes everything for good, share of it"
    )
    max_depeg: Share = Field(
        0.02, description="distance of the prices of a spread's legs beyond which it may not grow, a fraction"
    )
    max_venue_leverage: float = Field(
        1e9, gt=0, description="sum of notionals at one venue over all equity, where there are several venues"
    )
    min_edge_ratio: float = Field(
        0.0, ge=0, le=100, description="expected gain over the fees it costs, below which nothing is opened"
    )


class ExecutionSettings(Section):
    """[execution]: how orders are sent and protected."""

    style: Literal["taker", "maker"] = Field(
        "taker", description="taker: immediate or cancel; maker: post only"
    )
    slippage_bps: float = Field(
        50.0, ge=0, le=1000, description="furthest a taker order may go from mark, bps"
    )
    stop_loss: Maybe[Part] = Field(
        None, description="adverse price move at which a resting stop closes, a fraction; none = off"
    )
    take_profit: Maybe[Part] = Field(
        None, description="favourable price move at which a resting order closes, a fraction; none = off"
    )
    stop_tolerance: float = Field(
        0.1, ge=0, le=1, description="share by which a resting stop may be off before it is moved"
    )
    max_unhedged_usd: float = Field(
        5_000.0, gt=0, description="most that one leg of a spread may be ahead of the other, USD"
    )
    hedge_attempts: int = Field(
        3, ge=1, le=20, description="times a hedge is tried, each at a worse price, before it is taken back"
    )
