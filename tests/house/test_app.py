"""Every word of a config reaches the object that it is about."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bot import app, compose, settings
from bot.cli.config import data_overrides
from bot.clock import parse_utc, utc
from bot.data.generate import generate
from bot.errors import ConfigError
from bot.model.account import MarginMode
from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.spread import Spread
from bot.paper.world import World
from bot.pipeline.mandate import Style
from bot.pipeline.market import rows_needed
from bot.sim.bars import Frictions
from bot.sim.coins import MAJORS
from bot.sim.fees import HYPERLIQUID_PERPS

CONFIG = """
version = 1
name = "all of it"
mode = "backtest"

[data]
coins = ["BTC", "SOL"]
missing = "settle"
max_gap_h = 7

[market]
coins = ["BTC", "SOL"]
speed = 7200
warmup_h = 30

[account]
equity_usd = 12_345
leverage = 3
margin_mode = "isolated"
wallets = { hyperliquid = 1.0 }

[exchange]
fees = { taker_bps = 6.0, maker_bps = 2.0 }
half_spread_bps = 3.0
impact_bps = 20.0
bar_volume_share = 0.4
backstop_ratio = 0.5
funding_cap_per_h = 0.02

[sizing]
volatility_target = 0.2
volatility_lookback_h = 72
position_size = 0.3
no_trade_band = 0.4
cooldown_h = 5

[limits]
max_position_usd = 999
max_position_share = 0.4
max_gross_leverage = 1.1
max_net_leverage = 1.2
max_open_interest_share = 0.03
max_volume_share = 0.06
max_data_age_h = 4
max_mark_deviation = 0.11
min_free_margin = 0.25
min_liquidation_distance = 0.12
stress_move = 0.13
stress_loss = 0.6
max_daily_loss = 0.07
max_drawdown = 0.31
min_edge_ratio = 1.5
max_depeg = 0.03
max_venue_leverage = 2.0

[execution]
style = "maker"
slippage_bps = 40.0
stop_loss = 0.08
take_profit = 0.16
stop_tolerance = 0.2
max_unhedged_usd = 900.0
hedge_attempts = 4

[[strategies]]
plugin = "funding_carry"
name = "carry"
capital = 0.6
[strategies.parameters]
exit_apr = 0.02
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def loaded(path: Path) -> settings.Settings:
    return settings.load(path, (), {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "data"
    generate(folder, [MAJORS["BTC"], MAJORS["SOL"]], 24 * 40, 3, 1_704_067_200_000)
    return folder


def test_the_mandate_says_what_the_config_says(loaded: settings.Settings) -> None:
    told = compose.mandate_of(loaded)
    (slot,) = told.strategies
    assert (slot.name, slot.capital, slot.strategy.exit_apr) == ("carry", 0.6, 0.02)  # type: ignore[attr-defined]
    for section, made in (("sizing", told.sizing), ("limits", told.limits), ("execution", told.execution)):
        for name, value in getattr(loaded, section).model_dump().items():
            assert getattr(made, name) == value, f"{section}.{name}"
    assert told.execution.style is Style.MAKER
    assert told.execution.taker_fee == 0.0006
    assert told.execution.half_spread == pytest.approx(0.0003)


def test_every_key_of_those_sections_is_set_to_something_else_than_its_default(
    loaded: settings.Settings,
) -> None:
    for section in ("sizing", "limits", "execution", "account", "exchange"):
        table = getattr(loaded, section)
        assert set(table.model_fields_set) == set(type(table).model_fields), section
        same = [
            key for key, field in type(table).model_fields.items() if getattr(table, key) == field.default
        ]
        assert same == [], section


def test_no_limit_in_usd_is_an_infinite_one(loaded: settings.Settings) -> None:
    free = loaded.model_copy(update={"limits": loaded.limits.model_copy(update={"max_position_usd": None})})
    assert compose.mandate_of(free).limits.max_position_usd == float("inf")


def test_the_exchange_charges_and_steps_in_as_the_config_says(loaded: settings.Settings) -> None:
    rules = compose.rules_of(loaded)
    assert [(tier.taker, tier.maker) for tier in rules.fees.tiers] == [(Decimal("0.0006"), Decimal("0.0002"))]
    assert (rules.backstop_ratio, rules.funding_cap_per_hour) == (Decimal("0.5"), Decimal("0.02"))
    frictions = compose.frictions_of(loaded)
    assert frictions == Frictions(half_spread_bps=3.0, impact_bps=20.0, volume_share=0.4)
    named = loaded.model_copy(update={"exchange": settings.ExchangeSettings()})
    assert compose.fees_of(named) is HYPERLIQUID_PERPS


def test_a_backtest_is_what_the_config_says(path: Path, loaded: settings.Settings, data: Path) -> None:
    test = compose.backtest_of(settings.load(path, data_overrides(data), {}))
    assert (test.name, test.equity_usd, test.leverage) == ("all of it", Decimal(12_345), 3)
    assert (test.margin_mode, test.settle_gaps, test.max_gap_h) == (MarginMode.ISOLATED, True, 7)
    assert test.rules == compose.rules_of(loaded)
    assert test.frictions == compose.frictions_of(loaded)
    assert test.mandate == compose.mandate_of(loaded)
    assert test.panel.instruments == ("BTC", "SOL")
    assert (test.panel.rows, test.first_row) == (24 * 40, 0)
    strict = loaded.model_copy(update={"data": settings.DataSettings(folder=data)})
    assert not compose.backtest_of(strict).settle_gaps


def test_what_lies_before_the_start_warms_the_signals_up(path: Path, data: Path) -> None:
    test = compose.backtest_of(
        settings.load(path, data_overrides(data, "2024-01-20", "2024-01-25", "SOL"), {})
    )
    needed = rows_needed(test.mandate)
    start_ms = parse_utc("2024-01-20")
    assert needed > 24
    assert test.panel.grid.time_ms(test.first_row) == start_ms
    assert test.first_row == needed
    assert test.panel.grid.end_ms == parse_utc("2024-01-25")
    assert test.panel.instruments == ("SOL",)
    early = compose.backtest_of(settings.load(path, data_overrides(data, "2024-01-02"), {}))
    assert early.first_row == 23  # there is no more than that
    with pytest.raises(ConfigError, match="is after the data ends"):
        compose.backtest_of(settings.load(path, data_overrides(data, "2024-02-11"), {}))


PAPER = ["mode=paper", "exchange.fees=hyperliquid", "exchange.half_spread_bps=1.0", "exchange.impact_bps=10.0", "exchange.bar_volume_share=1.0",
         "exchange.backstop_ratio=0.6667", "exchange.funding_cap_per_h=0.04"]  # fmt: skip


def paper(path: Path, *overrides: str) -> settings.Settings:
    return settings.load(path, [*PAPER, "journal.path=here/desk.sqlite", *overrides], {})


def test_a_paper_run_is_what_the_config_says(path: Path) -> None:
    loaded = paper(path, "policy.max_order_usd=777", "market.seed=5", "market.start=2025-02-01")
    daemon = app.daemon_of(loaded)
    assert [slot.name for slot in daemon.mandate.strategies] == ["carry", "manual"]
    assert [slot.by_hand for slot in daemon.mandate.strategies] == [False, True]
    around = app.surroundings_of(loaded, is_new=True)
    assert around.folder == Path("here/desk")
    assert (around.coins, around.speed, around.cex_coins) == (("BTC", "SOL"), 7200, ())
    assert around.wallets == {"hyperliquid": Decimal(12_345)}
    assert around.new_journal
    assert (around.bounds.max_order_usd, around.bounds.max_leverage) == (Decimal(777), 3)
    assert around.devnet == {
        "market": "synthetic",
        "speed": 7200,
        "seed": 5,
        "paused": True,
        "history_h": 30,
        "agent_days": 18_615,
        "start": "2025-02-01",
        "coins": ("BTC", "SOL"),
    }
    terms = app.paper_terms(World("http://127.0.0.1:1", "0xabc", Path("s"), 7200.0), loaded, 99)
    assert (terms.network, terms.url, terms.account) == ("devnet", "http://127.0.0.1:1", "0xabc")
    assert (terms.coins, terms.leverage, terms.margin_mode) == (("BTC", "SOL"), 3, MarginMode.ISOLATED)
    assert terms.history_h == 99
    assert terms.pace.longest_sleep_s == 0.125  # four looks an hour


def test_a_live_run_is_what_the_config_says(path: Path) -> None:
    account = "0x" + "ab" * 20
    venue = f'venue={{ network = "testnet", url = "https://host.example", account = "{account}", coins = ["ETH"] }}'
    live = [
        *PAPER,
        "mode=live",
        "account.equity_usd=100_000",
        "account.wallets={}",
        venue,
        "venue.history_h=48",
    ]
    loaded = settings.load(path, live, {})
    assert loaded.venue is not None
    terms = app.live_terms(loaded.venue, loaded.account, 99)
    assert (terms.url, terms.network, terms.account) == ("https://host.example", "testnet", account)
    assert (terms.coins, terms.leverage, terms.margin_mode, terms.history_h) == (
        ("ETH",), 3, MarginMode.ISOLATED, 48,
    )  # fmt: skip
    assert terms.weight_per_minute == 1200


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("exchange.impact_bps=3.0", r"\[exchange\] is for mode = \"backtest\""),
        ("strategies.0.name=manual", "names the orders given by hand"),
        ("market.source=mirror", "needs a mirror_url"),
        ('market={ source = "mirror", mirror_url = "http://h", speed = 2.0 }', "speed is 1"),
        ("market.speed=1000000", "speed"),
    ],
)
def test_a_paper_config_that_makes_no_sense_is_refused(path: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        paper(path, change)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("mode=live", r"needs a \[venue\] section or a \[cex.NAME\] one"),
        (
            'venue={ network = "testnet", url = "ftp://x", account = "0x0", coins = ["ETH"] }',
            "venue",
        ),
    ],
)
def test_a_live_config_that_makes_no_sense_is_refused(path: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.load(path, [*PAPER, "account.equity_usd=100_000", "account.wallets={}", change], {})


def test_a_replay_begins_where_the_config_says(path: Path, data: Path) -> None:
    def replay(*overrides: str) -> settings.Settings:
        return paper(path, "market.source=replay", *overrides, *(f"{v}" for _, v in data_overrides(data)))

    around = app.surroundings_of(replay(), is_new=True)
    assert around.devnet["data"] == data
    assert json.loads(str(around.devnet["data_query"])) == {
"table": "candles", "prices": "hl", "funding": ["settled"], "end": None,
    }  # fmt: skip
    assert around.devnet["start"] == utc(parse_utc("2024-01-01") + 30 * 3_600_000)
    later = app.surroundings_of(replay("market.start=2024-01-20"), is_new=True)
    assert later.devnet["start"] == "2024-01-19T23:00:00Z"  # the row of the 20th is the first to come
    for nothing_before in ("market.warmup_h=0", "market.start=2024-01-01"):
        with pytest.raises(ConfigError, match="no hour of history before its first"):
            app.daemon_of(replay(nothing_before))


@pytest.mark.parametrize(
    ("start", "end", "coins", "said"),
    [
        ("garbage", None, "", "--from: data.start"),
        ("2024-02-01", "2024-01-01", "", "is not before end"),
        (None, None, "B C", "--coins: data.coins"),
        (None, None, "BTC,SOL,BTC", "BTC is named twice"),
    ],
)
def test_what_the_command_line_says_of_the_data_is_checked_like_the_config(
    path: Path, data: Path, start: str | None, end: str | None, coins: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        settings.load(path, data_overrides(data, start, end, coins), {})
    assert "\n" not in str(told.value)


def test_a_folder_whose_name_is_a_number_or_has_quotes_stays_a_folder(path: Path) -> None:
    for name in ("2024", 'a "b"', "true", "ä b"):
        loaded = settings.load(path, data_overrides(Path(name)), {})
        assert loaded.data is not None
        assert loaded.data.folder == Path(name)


def test_what_a_section_lacks_is_said(loaded: settings.Settings, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a \[data\] section"):
        compose.backtest_of(loaded.model_copy(update={"data": None}))
    with pytest.raises(ConfigError, match="names no data folder"):
        compose.backtest_of(loaded)
    with pytest.raises(ConfigError, match=r"needs a \[market\] section"):
        app.check_market(loaded.model_copy(update={"market": None}), 10)
    market = loaded.market
    assert market is not None
    unknown = loaded.model_copy(update={"market": market.model_copy(update={"coins": ("BTC", "SOLL")})})
    with pytest.raises(ConfigError, match="no coin 'SOLL'; did you mean SOL"):
        app.check_market(unknown, 10)


def test_spreads_are_found_among_what_is_traded_spot_before_another_venue_and_each_leg_once() -> None:
    def there(name: str) -> Instrument:
        units = 1000 if "1000" in name else 1
        return Instrument(
            name, 3, (MarginTier(Decimal(0), 20),), multiplier=units, venue="binance", quote="USDT"
        )

    perps = [
        simple_instrument("BTC", 5, 40),
        Instrument("kPEPE", 0, (MarginTier(Decimal(0), 10),), multiplier=1000),
        simple_instrument("SOL", 2, 20),
    ]
    others = [there("binance:BTC"), there("binance:1000PEPE"), there("binance:ETH")]
    spot = spot_instrument("UBTC/USDC", 5, "UBTC")
    found = compose.with_found((), [*perps, spot, *others])
    assert [spread.name for spread in found] == ["BTC~UBTC/USDC", "kPEPE~binance:1000PEPE"]
    given = Spread(perps[0], others[0])
    assert [spread.name for spread in compose.with_found((given,), [*perps, spot, *others])] == [
        "BTC~binance:BTC", "kPEPE~binance:1000PEPE",
    ]  # fmt: skip
    assert any("USDC and USDT" in risk for risk in found[1].risks)
    with pytest.raises(ConfigError, match="find_spreads found no pair"):
        compose.with_found((), perps)
