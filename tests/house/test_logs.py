import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.logs import MASK, configure, is_secret_name, redact

KEY = "0x" + "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d"
ADDRESS = "0x90f8bf6a479f320ead074411a4b0e7944ea8c9c1"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "name",
    [
        "key", "api_key", "apiKey", "API_KEY", "secret", "api_secret", "apiSecret", "private_key", "privateKey",
        "mnemonic", "seed_phrase", "password", "keystore_password", "passphrase", "token", "access_token", "signature",
        "Authorization", "agent_key", "wallet_key", "credentials",
    ],
)  # fmt: skip
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "client_id",
        "strategy_key",
        "cache_key",
        "keys",
        "seed",
        "coin",
        "order_id",
        "author",
        "monkey",
        "sign",
        "side",
    ],
)
def test_a_name_that_only_resembles_one_is_left_alone(name: str) -> None:
    assert not is_secret_name(name)


def nest(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    words = st.text("abcxyz_", max_size=8)
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(words, inner, max_size=3)
            | st.tuples(inner, inner)
        ),
        max_leaves=8,
    )  # fmt: skip


carriers = st.sampled_from(
    [
        KEY,
        KEY.upper().replace("0X", "0x"),
        KEY.removeprefix("0x"),
        f"signing with {KEY}!",
        KEY.encode(),
        bytes.fromhex(KEY[2:]),
        bytearray(KEY.encode()),
        b"\xff\xfe" + bytes.fromhex(KEY[2:]),
        ValueError(f"bad key {KEY}"),
        Path("keys") / KEY,
        {KEY: 1},
    ]
)


@given(nest(carriers))
def test_a_private_key_is_masked_however_deep_it_lies(value: Any) -> None:
    assert KEY[2:] not in repr(redact(value)).lower()
    assert repr(bytes.fromhex(KEY[2:]))[2:-1] not in repr(redact(value))


plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("BTC -0123", max_size=20)
)


@given(st.dictionaries(st.sampled_from(["coin", "price", "client_id", "strategy_key"]), st.lists(plain)))
def test_what_is_no_secret_stays_as_it_is(value: dict[str, Any]) -> None:
    assert redact(value) == value


def test_an_address_is_public_and_stays() -> None:
    assert redact({"account": ADDRESS}) == {"account": ADDRESS}


@pytest.mark.parametrize(
    "text",
    [
        "login failed: password=hunter2, retrying",
        "GET /x?token=hunter2&coin=BTC",
        "{'api_key': 'hunter2', 'coin': 'BTC'}",
        '{"apiSecret": "hunter2"}',
        "Authorization: Bearer hunter2hunter2",
        "secret: hunter2",
    ],
)
def test_a_secret_told_in_a_sentence_is_masked_and_the_sentence_stays(text: str) -> None:
    clean = redact(text)
    assert "hunter2" not in clean
    assert MASK in clean
    assert clean.split()[0].rstrip(":") in text


def test_a_structure_that_contains_itself_ends() -> None:
    loop: dict[str, Any] = {"coin": "BTC"}
    loop["self"] = loop
    assert redact(loop)["self"]["coin"] == "BTC"


def test_json_lines_go_to_stderr_with_their_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    structlog.contextvars.bind_contextvars(run_id="r1", decision_id="d7")
    structlog.get_logger("bot").info("order_placed", coin="BTC", quantity=3, signature="0xabc")
    logging.getLogger("library").warning("key is %s", KEY)

    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = lines(captured.err)
    assert first["event"] == "order_placed"
    assert (first["run_id"], first["decision_id"], first["level"]) == ("r1", "d7", "info")
    assert (first["coin"], first["quantity"], first["signature"]) == ("BTC", 3, MASK)
    assert second["event"] == f"key is {MASK}"
    assert second["decision_id"] == "d7"


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_told_without_its_secrets(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure(form)
    try:
        raise ValueError(f"cannot sign with {KEY}")
    except ValueError:
        structlog.get_logger("bot").exception("signing_failed")
        logging.getLogger("library").exception("failed too")
    err = capsys.readouterr().err
    assert err.count(f"cannot sign with {MASK}") == 2
    assert KEY[2:] not in err


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console")
    structlog.get_logger("bot").info("order_placed", coin="BTC")
    err = capsys.readouterr().err
    assert "order_placed" in err
    assert "coin=BTC" in err
    assert "\x1b[" not in err


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "warning")
    log = structlog.get_logger("bot")
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(capsys.readouterr().err)] == ["loud"]


def test_a_file_gets_json_beside_the_console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logs" / "bot.jsonl"
    configure("console", "info", file)
    structlog.get_logger("bot").info("order_placed", private_key=KEY)
    [line] = lines(file.read_text())
    assert (line["event"], line["private_key"]) == ("order_placed", MASK)
    assert "order_placed" in capsys.readouterr().err


def test_configuring_again_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console")
    configure("json")
    structlog.get_logger("bot").info("once")
    assert [line["event"] for line in lines(capsys.readouterr().err)] == ["once"]


def test_an_unknown_level_or_an_unwritable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'loud' is unknown; choose one of debug, info"):
        configure("json", "loud")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write the log file .*; change logs\.file"):
        configure("json", "info", tmp_path / "file" / "bot.jsonl")
