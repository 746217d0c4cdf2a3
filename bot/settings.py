"""What a config file may say, with the meaning, unit and bounds of every key; `load` reads one.

One TOML file describes one use of the bot. Unknown keys are errors. Any key can be overridden by an environment
variable (`HEDGEROW__ACCOUNT__LEVERAGE=3`) or on the command line (`--set account.leverage=3`); the command line wins.
Relative paths are seen from the current directory. Only `[venue]` and `market.mirror_url` reach a network, and neither
has a default.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bot.clock import parse_utc
from bot.config_file import Override, resolve
from bot.config_legs import SpreadSettings, VariantSettings
from bot.config_trading import ExecutionSettings, LimitSettings, SizingSettings
from bot.config_types import (
    Coins,
    Location,
    Maybe,
    Moment,
    Money,
    Name,
    PriceSource,
    Section,
    Share,
    Url,
)
from bot.config_venue import CexName, CexSettings, VenueSettings, wrong_with
from bot.config_watch import GuardSettings, WatchdogSettings

BY_HAND: Final = "manual"
MAJORS: Final = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "AVAX", "LINK")


class DataSettings(Section):
    """[data]: the recorded market that a backtest or a replay runs over."""

    folder: Maybe[Location] = Field(None, description="folder with the Parquet tables; --data overrides it")
    table: Literal["candles", "panel"] = Field(
        "candles", description="candles: hl_candles_1h with hl_funding_1h; panel: panel_1h"
    )
    prices: PriceSource = Field(
        "hl", description="whose columns of panel_1h are the prices; candles are always hl"
    )
    funding: Annotated[
        tuple[Literal["settled", "indicative"], ...], Field(strict=False, min_length=1, max_length=2)
    ] = Field(("settled",), description="which funding series to use, in order of preference")
    reference: Maybe[PriceSource] = Field(
        None, description="the other venue whose price makes the basis; none = no basis"
    )
    coins: Coins = Field((), description="coins to load; empty = all there are")
    start: Maybe[Moment] = Field(None, description="first moment (UTC); none = where the data begins")
    end: Maybe[Moment] = Field(None, description="last moment (UTC); none = where the data ends")
    missing: Literal["refuse", "settle"] = Field(
        "refuse",
        description="where candles or funding are missing: refuse to run, or settle what is held at its last price",
    )
    max_gap_h: int = Field(24, ge=1, description="hours of silence after which a coin is settled")

    @property
    def start_ms(self) -> int | None:
        """Milliseconds UTC of `start`."""
        return None if self.start is None else parse_utc(self.start)

    @property
    def end_ms(self) -> int | None:
        """Milliseconds UTC of `end`."""
        return None if self.end is None else parse_utc(self.end)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start_ms is not None and self.end_ms is not None and self.start_ms >= self.end_ms:
            raise ValueError(
                f"start {self.start} is not before end {self.end}; swap them or widen the period"
            )
        return self


class MarketSettings(Section):
    """[market]: where the market of a paper run comes from."""

    source: Literal["synthetic", "replay", "mirror"] = Field(
        "synthetic",
        description="synthetic: made from the seed; replay: the recorded market of [data]; mirror: a venue's prices now",
    )
    seed: int = Field(7, ge=0, description="seed of the synthetic market")
    coins: Annotated[Coins, Field(min_length=1)] = Field(
        MAJORS, description="names of the coins; a replay has those of [data]"
    )
    speed: float = Field(
        3600.0, gt=0, le=7_200, description="simulated seconds per real second; 1 for a mirror"
    )
    warmup_h: int = Field(720, ge=0, description="hours of market history before the first decision")
    start: Maybe[Moment] = Field(
        None, description="simulated moment at which the run begins (UTC); none = the source's"
    )
    mirror_url: Maybe[Url] = Field(
        None, description="whose public prices a mirror shows, such as https://api.hyperliquid-testnet.xyz"
    )

    @property
    def start_ms(self) -> int | None:
        """Milliseconds UTC of `start`."""
        return None if self.start is None else parse_utc(self.start)

    @model_validator(mode="after")
    def _is_a_market(self) -> Self:
        if self.source == "mirror" and self.mirror_url is None:
            raise ValueError('source = "mirror" needs a mirror_url, which says whose prices; add one')
        if self.source == "mirror" and self.speed != 1:
            raise ValueError("a mirror shows the present, so its speed is 1; set speed = 1")
        return self


class PolicySettings(Section):
    """[policy]: what the signer of a paper run signs; a live run's signer has a policy file of its own."""

    max_order_usd: Money = Field(Decimal(50_000), description="largest order, USD")
    max_position_usd: Money = Field(Decimal(100_000), description="largest position of a coin, USD")
    max_gross_usd: Money = Field(Decimal(400_000), description="largest sum of positions and orders, USD")
    turnover_usd_per_day: Money = Field(Decimal(2_000_000), description="most that is opened in a day, USD")
    collar_bps: int = Field(300, ge=1, le=1900, description="furthest a price may be from the reference, bps")
    orders_per_min: int = Field(600, ge=1, le=20_000, description="orders a minute of the market's time")


class AccountSettings(Section):
    """[account]: what the run begins with."""

    equity_usd: Money = Field(Decimal(100_000), description="opening balance, USD")
    leverage: int = Field(
        5, ge=1, le=50, description="leverage set per position; each coin's maximum caps it"
    )
    margin_mode: Literal["cross", "isolated"] = Field("cross", description="margin mode of new positions")
    wallets: dict[str, float] = Field(
        default_factory=dict,
        description="share of the opening balance by wallet, such as hyperliquid, 'hyperliquid spot' or binance; sums to 1",
    )


class FeeSettings(Section):
    """[exchange.fees]: one flat fee for every fill, bps of notional."""

    taker_bps: float = Field(ge=0, le=100, description="bps of notional for a taker fill")
    maker_bps: float = Field(
        ge=-10, le=100, description="bps of notional for a maker fill; negative = rebate"
    )


class ExchangeSettings(Section):
    """[exchange]: how the simulated exchange of a backtest charges and fills."""

    fees: Annotated[
        Annotated[Literal["hyperliquid"], Tag("named")] | Annotated[FeeSettings, Tag("table")],
        Discriminator(lambda value: "table" if isinstance(value, dict | FeeSettings) else "named"),
    ] = Field(
        "hyperliquid", description="the venue's fee tiers by name, or a table of taker_bps and maker_bps"
    )
    half_spread_bps: float = Field(1.0, ge=0, le=1000, description="bps between mid and the best bid or ask")
    impact_bps: float = Field(
        10.0, ge=0, le=10_000, description="bps paid per square root of the share of the bar's volume"
    )
    bar_volume_share: Share = Field(
        1.0, description="largest share of a bar's volume that the orders of that bar trade together"
    )
    backstop_ratio: float = Field(
        0.6667,
        gt=0,
        le=1,
        description="share of maintenance margin below which the backstop takes over the position",
    )
    funding_cap_per_h: float = Field(
        0.04, gt=0, le=1, description="largest funding rate in an hour, a fraction"
    )


class StrategySettings(Section):
    """[[strategies]]: one plugin, its share of the money and its parameters."""

    plugin: str = Field(
        min_length=1,
        description="name of an installed strategy, or path of a Python file, FILE.py or FILE.py:Class",
    )
    name: Name = Field(description="what journal and reports call it; by default the plugin's own name")
    on: Literal["coins", "spreads"] = Field(
        "coins", description="what its opinions are about: single instruments, or every pair of [[spreads]]"
    )
    capital: float = Field(1.0, ge=0, le=10, description="share of equity that the strategy works with")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="the plugin's own fields; it checks them itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _named_after_plugin(cls, table: Any) -> Any:
        if isinstance(table, dict) and "name" not in table and isinstance(table.get("plugin"), str):
            stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(table["plugin"].partition(":")[0]).stem)
            return {**table, "name": stem}
        return table


class JournalSettings(Section):
    """[journal]: where what happened is written down."""

    path: Location = Field(Path("state/paper.sqlite"), description="the SQLite file")


class LogSettings(Section):
    """[logs]: what the daemon says on stderr."""

    format: Literal["console", "json"] = Field("console", description="lines for people or for machines")
    level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="the least important line that is shown"
    )
    file: Maybe[Location] = Field(None, description="JSON lines go to this rotating file too; none = off")


class Settings(Section):
    """A whole config file."""

    version: Literal[1] = Field(description="version of this format; 1")
    name: str = Field(min_length=1, max_length=80, description="what reports call this config")
    mode: Literal["backtest", "paper", "live"] = Field(
        description="run over history, as a daemon with paper money, or as a daemon on a venue"
    )
    data: DataSettings | None = None
    market: MarketSettings | None = None
    venue: VenueSettings | None = None
    cex: dict[CexName, CexSettings] = Field(
        default_factory=dict, description="accounts at central exchanges: binance, bybit, okx"
    )
    policy: PolicySettings = PolicySettings()
    account: AccountSettings = AccountSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    sizing: SizingSettings = SizingSettings()
    limits: LimitSettings = LimitSettings()
    execution: ExecutionSettings = ExecutionSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    guard: GuardSettings = GuardSettings()
    strategies: Annotated[tuple[StrategySettings, ...], Field(strict=False, min_length=1)] = Field(
        description="one table for each strategy"
    )
    spreads: Annotated[tuple[SpreadSettings, ...], Field(strict=False)] = Field(
        (), description="pairs of legs held against each other"
    )
    find_spreads: bool = Field(
        False,
        description="also make a spread of every pair of what a daemon trades that can be one; each leg is in one spread",
    )
    variants: Annotated[tuple[VariantSettings, ...], Field(strict=False)] = Field(
        (), description="runs with other parameters to compare a backtest with"
    )
    journal: JournalSettings = JournalSettings()
    logs: LogSettings = LogSettings()

    @property
    def has_spreads(self) -> bool:
        """Whether anything is to be held with two legs."""
        return bool(self.spreads) or self.find_spreads

    @model_validator(mode="after")
    def _has_both_legs(self) -> Self:
        trading = [strategy.name for strategy in self.strategies if strategy.on == "spreads"]
        if trading and not self.has_spreads:
            raise ValueError(
                f"strategy '{trading[0]}' is on spreads, and there is no [[spreads]] table; add one, or find_spreads = true"
            )
        if self.find_spreads and self.mode == "backtest":
            raise ValueError(
                "find_spreads is for a daemon, which knows what it trades; name the [[spreads]] of a backtest"
            )
        if self.has_spreads and len(trading) != 1:
            raise ValueError(
                f'[[spreads]] need one strategy with on = "spreads", found {len(trading)}; a leg belongs to one'
            )
        if self.has_spreads and self.account.margin_mode != "cross":
            raise ValueError(
                'spreads are held on cross margin, wallet by wallet; set account.margin_mode = "cross"'
            )
        all_on_spreads = all(strategy.on == "spreads" for strategy in self.strategies)
        if self.has_spreads and all_on_spreads and (self.execution.stop_loss or self.execution.take_profit):
            raise ValueError(
                "no stop or take-profit rests on a leg of a spread, since it would leave the other alone; remove "
                "execution.stop_loss and execution.take_profit"
            )
        labels = [variant.name for variant in self.variants]
        twice = next((name for name in labels if labels.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two variants are named '{twice}'; give one of them another name")
        if any(not 0 <= share <= 1 for share in self.account.wallets.values()):
            raise ValueError("account.wallets are shares from 0 to 1 of the opening balance")
        names = {strategy.name for strategy in self.strategies}
        for variant in self.variants:
            if variant.strategy not in names:
                raise ValueError(
                    f"variant '{variant.name}' is of strategy '{variant.strategy}', which there is not"
                )
        if self.account.wallets and self.mode == "live":
            raise ValueError('account.wallets is what the venues say in mode = "live"; remove it')
        if self.account.wallets and abs(sum(self.account.wallets.values()) - 1) > 1e-9:
            raise ValueError(
                f"account.wallets must add up to 1, found {sum(self.account.wallets.values()):g}"
            )
        return self

    @model_validator(mode="after")
    def _trades_its_legs(self) -> Self:
        """Paper runs add the spot markets that their spreads need; what a replay has is known when it is read."""
        legs = {leg for spread in self.spreads for leg in (spread.primary, spread.hedge)}
        there = {f"{name}:{coin}" for name, cex in self.cex.items() for coin in cex.coins}
        here: set[str] = set()
        if self.mode == "live":
            here = set(self.venue.coins) if self.venue is not None else here
        elif self.mode == "paper" and self.market is not None and self.market.source != "replay":
            here = set(self.market.coins) | {leg for leg in legs if "/" in leg}
        else:
            return self
        bare = sorted(legs - here - there)
        if bare:
            venue, _, coin = bare[0].rpartition(":")
            where = (
                f"cex.{venue}.coins" if venue else "market.coins" if self.mode == "paper" else "venue.coins"
            )
            raise ValueError(f"{bare[0]} is a leg of a spread and not traded here; add {coin!r} to {where}")
        return self

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        names = [strategy.name for strategy in self.strategies]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two strategies are named '{twice}'; give one of them another name")
        if BY_HAND in names:
            raise ValueError(f"{BY_HAND!r} names the orders given by hand; give the strategy another name")
        if self.mode != "backtest" and self.exchange != ExchangeSettings():
            raise ValueError(
                f'[exchange] is for mode = "backtest"; in mode = "{self.mode}" the venue has its own terms'
            )
        if self.mode == "live" and self.venue is None and not self.cex:
            raise ValueError('mode = "live" needs a [venue] section or a [cex.NAME] one; add one')
        if self.mode == "backtest" and self.cex:
            raise ValueError(
                '[cex] is for mode = "paper" or "live"; a backtest reads recorded data, so remove it'
            )
        wrong = next(filter(None, (wrong_with(name, each, self.mode) for name, each in self.cex.items())), "")
        if wrong:
            raise ValueError(wrong)
        if self.mode == "live" and self.account.equity_usd != AccountSettings().equity_usd:
            raise ValueError('account.equity_usd is what the venue says in mode = "live"; remove it')
        if self.mode == "paper" and self.market is None:
            raise ValueError('mode = "paper" needs a [market] section; add one')
        if self.mode == "paper" and self.execution.slippage_bps > self.policy.collar_bps:
            raise ValueError(
                f"execution.slippage_bps = {self.execution.slippage_bps:g} allows prices that policy.collar_bps = "
                f"{self.policy.collar_bps} refuses to sign; lower the one or raise the other"
            )
        if self.mode == "backtest" and self.data is None:
            raise ValueError('mode = "backtest" needs a [data] section; add one')
        if self.mode == "paper" and self.market and self.market.source == "replay" and self.data is None:
            raise ValueError('market.source = "replay" needs a [data] section; add one')
        return self


def load(path: Path, overrides: Sequence[Override] = (), environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a TOML file, after `HEDGEROW__SECTION__KEY` in `environ` and `section.key=value` overrides.

    Raises ConfigError, one sentence that names the file and the key, for whatever is wrong with them.
    """
    return resolve(Settings, path, overrides, environ)


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, as reports and journals keep them and people see them: secrets are masked.

    A plugin may have a parameter that is one; it is known by its name, or by its looks.
    """
    from bot.logs import redact  # here, since most commands show no config

    # On paper the exchange is simulated, and a config that says where it is would be refused.
    left_out: dict[str, Any] = {
        "cex": {name: {"network", "service"} for name in settings.cex if settings.mode == "paper"}
    }
    # By way of text, in which an infinity is a word: JSON knows no such number.
    masked: dict[str, Any] = redact(json.loads(settings.model_dump_json(exclude_none=True, exclude=left_out)))
    return masked


def schema() -> dict[str, Any]:
    """JSON Schema of a config file."""
    return Settings.model_json_schema()
