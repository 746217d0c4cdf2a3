import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bot.clock import parse_utc
from bot.config_types import Section
from bot.errors import ConfigError
from bot.settings import FeeSettings, Settings, load, schema

PAPER = """\
version = 1
name = "paper"
mode = "paper"

[market]
source = "synthetic"

[[strategies]]
plugin = "funding_carry"
"""
BACKTEST = PAPER.replace('"paper"', '"backtest"').replace('[market]\nsource = "synthetic"', "[data]")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "paper.toml"
    path.write_text(PAPER)
    return path


def refusal(path: Path, *overrides: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, environ)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def test_a_short_config_is_enough(config: Path) -> None:
    settings = load(config, environ={})
    assert settings.mode == "paper"
    assert settings.market
    assert settings.market.coins[:2] == ("BTC", "ETH")
    assert settings.account.equity_usd == Decimal(100_000)
    assert [(each.name, each.capital, each.parameters) for each in settings.strategies] == [
        ("funding_carry", 1.0, {})
    ]
    assert settings.journal.path == Path("state/paper.sqlite")


def test_settings_cannot_be_changed_after_they_were_read(config: Path) -> None:
    settings = load(config, environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.account.leverage = 50  # type: ignore[misc]


def test_the_command_line_beats_the_environment_which_beats_the_file(config: Path) -> None:
    config.write_text(PAPER + "\n[account]\nleverage = 2\n")
    environ = {"HEDGEROW__ACCOUNT__LEVERAGE": "3", "HEDGEROW_REAL_DATA": "elsewhere", "LEVERAGE": "9"}
    assert load(config, environ={}).account.leverage == 2
    assert load(config, environ=environ).account.leverage == 3
    assert load(config, ["account.leverage=4"], environ).account.leverage == 4
    assert load(config, ["account.leverage=4", "account.leverage=5"], environ).account.leverage == 5


def test_an_override_is_a_toml_value_or_else_text(config: Path) -> None:
    settings = load(
        config,
        [
            "mode=backtest",
            "data={}",
            "name=Long name",
            'market.coins=["BTC"]',
            "sizing.no_trade_band=inf",
            "account.equity_usd=12.50",
        ],
        {
            "HEDGEROW__EXCHANGE__FEES": "{ taker_bps = 4.5, maker_bps = -0.2 }",
            "HEDGEROW__LOGS__FORMAT": "json",
        },
    )
    assert settings.name == "Long name"
    assert settings.market
    assert settings.market.coins == ("BTC",)
    assert math.isinf(settings.sizing.no_trade_band)
    assert settings.account.equity_usd == Decimal("12.5")
    assert settings.exchange.fees == FeeSettings(taker_bps=4.5, maker_bps=-0.2)
    assert settings.logs.format == "json"


def test_an_address_on_the_command_line_is_no_number(config: Path) -> None:
    account = "0x" + "12" * 20
    venue = 'venue={ network = "testnet", url = "https://host.example", account = "0x0", coins = ["ETH"] }'
    found = load(config, ["mode=live", venue, f"venue.account={account}"])
    assert found.venue is not None
    assert found.venue.account == account


def test_a_strategy_is_overridden_by_number_or_by_name(config: Path) -> None:
    config.write_text(PAPER + '[[strategies]]\nplugin = "own/fade.py:Fade"\nname = "Fade-2"\n')
    settings = load(
        config,
        [
            "strategies.0.parameters.hold_h=8",
            "strategies.fade-2.capital=0.5",
            "strategies.fade.parameters.z=2.5",
        ],
        {"HEDGEROW__STRATEGIES__FUNDING_CARRY__CAPITAL": "0.25"},
    )
    carry, fade = settings.strategies
    assert (carry.capital, carry.parameters) == (0.25, {"hold_h": 8})
    assert (fade.name, fade.capital, fade.parameters) == ("Fade-2", 0.5, {"z": 2.5})


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [("funding_carry", "funding_carry"), ("./own/fade.py", "fade"), ("own/fade.v2.py:Fade", "fade_v2")],
)
def test_a_strategy_is_named_after_its_plugin(config: Path, plugin: str, expected: str) -> None:
    assert load(config, [f"strategies.0.plugin={plugin}"], {}).strategies[0].name == expected


def test_a_date_may_be_written_with_or_without_quotes(config: Path) -> None:
    config.write_text(BACKTEST.replace("[data]", '[data]\nstart = 2024-05-01\nend = "2024-05-02T06:00:00Z"'))
    data = load(config, environ={}).data
    assert data
    assert data.start_ms == parse_utc("2024-05-01")
    assert data.end_ms == parse_utc("2024-05-02T06:00")


def test_none_switches_an_optional_key_off(config: Path) -> None:
    config.write_text(PAPER + "[sizing]\nvolatility_target = 0.2\n")
    assert load(config, environ={}).sizing.volatility_target == 0.2
    assert load(config, ["sizing.volatility_target=none"], {}).sizing.volatility_target is None


def test_relative_paths_are_seen_from_the_current_directory(config: Path) -> None:
    config.write_text(PAPER + '[journal]\npath = "state/x.sqlite"\n')
    assert load(config, environ={}).journal.path == Path("state/x.sqlite")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path / "absent.toml")
    assert "absent.toml" in message
    assert "No such file" in message


def test_a_folder_is_not_a_config(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"cannot read the config {tmp_path}")


def test_bad_toml_is_told_with_its_line(config: Path) -> None:
    config.write_text("version = 1\nname = \n")
    message = refusal(config)
    assert f"{config} is not valid TOML" in message
    assert "line 2" in message


def test_another_encoding_is_told(config: Path) -> None:
    config.write_bytes(b'name = "\xff"')
    assert "is not UTF-8 text" in refusal(config)


@pytest.mark.parametrize(
    ("version", "told"),
    [("", "has no version"), ("version = 2", "has version 2"), ('version = "1"', 'has version "1"'), ("version = true", "true")],
)  # fmt: skip
def test_another_version_is_told_before_anything_else(config: Path, version: str, told: str) -> None:
    config.write_text(PAPER.replace("version = 1", version) + "[nonsense]\n")
    message = refusal(config)
    assert message.startswith(f"{config} ")
    assert told in message
    assert message.endswith("write version = 1")


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("account.leverag=3", "account.leverage"),
        ("acount.leverage=3", "account"),
        ("max_drawdown=0.1", "limits.max_drawdown"),
        ("account.max_drawdown=0.1", "limits.max_drawdown"),
        ("exchange.fees.taker_bp=2", "exchange.fees.taker_bps"),
        ("strategies.0.capitol=1", "strategies.0.capital"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known(config: Path, override: str, near: str) -> None:
    message = refusal(config, override)
    assert message.startswith(f"--set: {override.partition('=')[0].split('.')[0]}")
    assert "is not a known key" in message
    assert f"did you mean {near}?" in message


def test_an_unknown_key_like_no_other_is_refused_with_what_there_is(config: Path) -> None:
    assert "[account] has equity_usd, leverage, margin_mode" in refusal(config, "account.qqqqqq=3")


def test_an_unknown_key_in_the_file_or_the_environment_says_where_it_stands(config: Path) -> None:
    told = "account.leverag is not a known key; did you mean account.leverage?"
    assert refusal(config, HEDGEROW__ACCOUNT__LEVERAG="3") == f"HEDGEROW__ACCOUNT__LEVERAG: {told}"
    config.write_text(PAPER + "[account]\nleverag = 3\n")
    assert refusal(config) == f"{config}: {told}"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("account.leverage=90", "account.leverage is 90, but must be a whole number from 1 to 50"),
        ("account.leverage=2.5", "account.leverage is 2.5, but must be a whole number from 1 to 50"),
        ("account.leverage=true", "account.leverage is true, but must be a whole number from 1 to 50"),
        ('account.leverage="3"', 'account.leverage is "3", but must be a whole number from 1 to 50'),
        ("account.equity_usd=0", "account.equity_usd is 0, but must be an amount above 0"),
        ("account.equity_usd=nan", "account.equity_usd is nan, but must be an amount above 0"),
        ("account=3", "account is 3, but must be a table of equity_usd, leverage, margin_mode"),
        ("mode=fast", 'mode is "fast", but must be one of "backtest", "paper", "live"'),
        ("limits.max_drawdown=inf", "limits.max_drawdown is inf, but must be a number above 0 below 1"),
        ("limits.min_free_margin=1", "limits.min_free_margin is 1, but must be a number from 0 below 1"),
        ("sizing.no_trade_band=nan", "sizing.no_trade_band is nan, but must be a number of at least 0"),
        ("execution.stop_loss=1", 'execution.stop_loss is 1, but must be a number above 0 below 1 or "none"'),
        ("execution.take_profit=2", 'execution.take_profit is 2, but must be a number above 0 below 1 or "none"'),
        ("limits.max_daily_loss=1", "limits.max_daily_loss is 1, but must be a number above 0 below 1"),
        ("market.coins=[]", "market.coins is [], but must be a list that is not empty"),
        ("market.coins=[1]", "market.coins.0 is 1, but must be a coin's name, such as BTC or kPEPE"),
        ("strategies=[]", "strategies is [], but must be a list that is not empty"),
        ("strategies.0.capital=11", "strategies.0.capital is 11, but must be a number from 0 to 10"),
        ("strategies.0.name=a b", 'strategies.0.name is "a b", but must be a name of up to 40 letters'),
        ("exchange.fees=low", 'exchange.fees is "low", but must be "hyperliquid" or a table of taker_bps, maker_bps'),
        ("exchange.fees={taker_bps=200,maker_bps=0}", "exchange.fees.taker_bps is 200, but must be a number from 0 to 100"),
        ("exchange.fees={taker_bps=2}", "exchange.fees.maker_bps is missing; add it"),
        ("data.start=soon", "data.start: 'soon' is not a date; write it as 2024-05-01"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_what_may_stand_there(config: Path, override: str, told: str) -> None:
    assert refusal(config, override).startswith(f"--set: {told}")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('name = "paper"\n', "name"),
        ('mode = "paper"\n', "mode"),
        ('[[strategies]]\nplugin = "funding_carry"\n', "strategies"),
        ('plugin = "funding_carry"\n', "strategies.0.plugin"),
    ],
)
def test_a_missing_key_is_named(config: Path, line: str, key: str) -> None:
    config.write_text(PAPER.replace(line, ""))
    assert refusal(config).startswith(f"{config}: {key} is missing; add it (")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PAPER + '[[strategies]]\nplugin = "funding_carry"\n', "two strategies are named 'funding_carry'"),
        (PAPER.replace("[market]", "[data]").replace('source = "synthetic"', ""), "needs a [market] section"),
        (BACKTEST.replace("[data]", "[market]"), "needs a [data] section"),
        (PAPER + "[policy]\ncollar_bps = 40\n", "policy.collar_bps = 40 refuses to sign"),
        (PAPER.replace("synthetic", "replay"), 'market.source = "replay" needs a [data] section'),
        (BACKTEST.replace("[data]", "[data]\nstart = 2024-05-02\nend = 2024-05-02"), "is not before end"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(config: Path, text: str, told: str) -> None:
    config.write_text(text)
    message = refusal(config)
    assert message.startswith(f"{config}: ")
    assert told in message


LIVE = PAPER.replace('"paper"', '"live"').replace('[market]\nsource = "synthetic"', "")
BINANCE = '[cex.binance]\ncoins = ["BTC"]\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LIVE, "needs a [venue] section or a [cex.NAME] one; add one"),
        (LIVE + BINANCE.replace("binance", "kraken"), "cex.kraken is not a known key; [cex] has binance, bybit, okx"),
        (LIVE + BINANCE.replace("coins", "coin"), "cex.binance.coin is not a known key; did you mean cex.binance.coins?"),
        (LIVE + BINANCE + 'service = "testnet"\n', 'cex.binance.service is "testnet", and binance has demo; name that'),
        (LIVE + BINANCE + 'network = "mainnet"\n', 'cex.binance.network is "mainnet", but must be one of'),
        (LIVE + BINANCE + 'url = "http://127.0.0.1:1"\n', "cex.binance.url is for a devnet"),
        (LIVE + BINANCE + 'network = "devnet"\n', "cex.binance: a devnet needs its url"),
        (LIVE + BINANCE.replace("binance", "okx") + 'network = "devnet"\nurl = "http://127.0.0.1:1"\n',
         "cex.okx: a devnet has a face of binance only"),
        (PAPER + BINANCE + 'network = "devnet"\n', "cex.binance: in mode = \"paper\" the exchange is simulated"),
        (PAPER + BINANCE.replace("binance", "okx"), "cex.okx: a paper run simulates binance only"),
        (BACKTEST + BINANCE, "a backtest reads recorded data, so remove it"),
    ],
)  # fmt: skip
def test_accounts_at_central_exchanges_never_leave_their_test_services(
    config: Path, text: str, told: str
) -> None:
    config.write_text(text)
    assert told in refusal(config)


def test_an_account_at_a_central_exchange_is_enough_to_trade_live(config: Path) -> None:
    config.write_text(LIVE + BINANCE)
    found = load(config, ["cex.binance.coins=['BTC', '1000PEPE']"])
    assert found.venue is None
    assert (found.cex["binance"].network, found.cex["binance"].coins) == ("testnet", ("BTC", "1000PEPE"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("account.leverage", "--set 'account.leverage' has no value; write it as --set section.key=value"),
        ("=3", "--set '=3' has no value"),
        ("name.first=3", "--set: name.first is not a key, since name is a value, not a section"),
        ("strategies.carrot.capital=1", "--set: there is no 'carrot' in that list; it has funding_carry"),
        ("strategies.0=1", "--set: strategies.0 is a whole element of a list; name one of its keys"),
    ],
)
def test_an_override_that_points_nowhere_is_refused(config: Path, override: str, told: str) -> None:
    assert refusal(config, override).startswith(told)


def test_several_mistakes_are_counted(config: Path) -> None:
    message = refusal(config, "account.leverage=90", "account.margin_mode=half", "naem=x")
    assert message == "--set: naem is not a known key; did you mean name? (2 more to mend)"


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for each in Section.__subclasses__() if each is not model]


def test_every_key_says_what_it_means() -> None:
    dumb = [
        f"{section.__name__}.{name}"
        for section in sections(Settings)
        for name, field in section.model_fields.items()
        if not field.description
    ]
    assert dumb == []


def test_every_section_is_closed_to_unknown_keys_and_frozen() -> None:
    assert all(
        each.model_config.get("extra") == "forbid" and each.model_config.get("frozen")
        for each in sections(BaseModel)
    )


def test_the_schema_names_every_section_and_can_be_written_as_json() -> None:
    written: dict[str, Any] = json.loads(json.dumps(schema()))
    assert set(written["properties"]) == set(Settings.model_fields)
    assert written["additionalProperties"] is False
    assert set(written["required"]) == {"version", "name", "mode", "strategies"}
