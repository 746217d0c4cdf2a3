"""What a policy for a central exchange denies, case by case."""

import json
from pathlib import Path

import pytest

from bot.signer import cex_policy, cex_signing, keystore, wallet
from bot.signer.cex_engine import AUDITED_LOOKS_PER_MIN
from bot.signer.policy import SignerConfigError
from tests.signer.cex_support import API_KEY, PASSPHRASE, SECRET, CexDesk, key, order, policy, rule

VENUES = ("binance", "bybit", "okx")


@pytest.fixture(params=VENUES)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> CexDesk:
    return CexDesk(tmp_path, request.param)


def test_an_order_is_held_against_size_position_and_price(desk: CexDesk) -> None:
    assert desk.order(reduce=False) == "reference"
    assert "ok" in desk.ask("prices", prices={desk.symbol: "50000"}, at_ms=desk.wall_ms)
    assert desk.order() == "positions_unknown"
    desk.ready()
    assert desk.order(size="0.05") == "ok"  # $2500, which is allowed
    assert desk.order(size="0.0501") == "order_usd"
    assert desk.order(price="50250") == "ok"  # 50 bps above
    assert desk.order(price="50250.1") == "collar"
    assert desk.order("sell", price="49750") == "ok"
    assert desk.order("sell", price="49749.9") == "collar"


def test_what_was_signed_counts_until_a_report_has_its_outcome(desk: CexDesk) -> None:
    desk.ready()
    assert [desk.order(size="0.05") for _ in range(5)] == ["ok"] * 4 + ["position_usd"]
    desk.ready()  # a report that knows nothing of them lets none of them go
    assert desk.order(size="0.0010") == "position_usd"
    desk.ready(through_nonce=desk.nonces.last)
    assert desk.order(size="0.05") == "ok"


def test_what_was_signed_counts_after_a_restart(desk: CexDesk) -> None:
    desk.ready()
    assert [desk.order(size="0.05") for _ in range(4)] == ["ok"] * 4
    desk.again()
    desk.wait(1)
    desk.ready()
    assert desk.order(size="0.05") == "position_usd"


def test_turnover_of_the_day_survives_a_restart(tmp_path: Path) -> None:
    desk = CexDesk(tmp_path, "binance", turnover_usd_per_day=3_000)
    desk.ready()
    assert desk.order(size="0.04") == "ok"
    desk.again()
    desk.wait(1)
    desk.ready(through_nonce=desk.nonces.last)
    assert desk.order(size="0.0201") == "turnover_usd"
    assert desk.order(size="0.02") == "ok"


def test_reducing_is_never_refused_by_size(desk: CexDesk) -> None:
    assert desk.order("sell", "999999", None, reduce=True) == "ok"  # not even a price is known
    desk.ready()
    assert desk.order("sell", "999999", "49500", reduce=True) == "ok"
    assert desk.order("sell", "999999", "48999", reduce=True) == "collar"


def test_a_market_order_that_opens_counts_at_the_told_price_while_it_is_fresh(desk: CexDesk) -> None:
    desk.ready()
    assert desk.order(size="0.05", price=None) == "ok"
    assert desk.order(size="0.0501", price=None) == "order_usd"
    desk.wait(3_001)
    assert desk.order(size="0.05", price=None) == "reference_age"


def test_an_orders_name_is_used_once(desk: CexDesk) -> None:
    desk.ready()
    method, path, params = order(desk.venue, "buy", "0.01", "50000")
    assert [rule(desk.cex(method, path, **params)) for _ in range(2)] == ["ok", "cloid_used"]


def test_orders_a_minute_are_counted(tmp_path: Path) -> None:
    desk = CexDesk(tmp_path, "bybit", orders_per_min=2, max_open_orders=40)
    desk.ready()
    assert [desk.order(size="0.001") for _ in range(3)] == ["ok", "ok", "orders_per_min"]


@pytest.mark.parametrize(
    ("venue", "method", "path"),
    [
        ("binance", "POST", "/sapi/v1/capital/withdraw/apply"),
        ("binance", "POST", "/sapi/v1/futures/transfer"),
        ("binance", "POST", "/sapi/v1/sub-account/virtualSubAccount"),
        ("bybit", "POST", "/v5/asset/withdraw/create"),
        ("bybit", "POST", "/v5/asset/transfer/inter-transfer"),
        ("bybit", "POST", "/v5/user/update-api"),
        ("bybit", "POST", "/v5/user/create-sub-member"),
        ("okx", "POST", "/api/v5/asset/withdrawal"),
        ("okx", "POST", "/api/v5/asset/transfer"),
        ("okx", "POST", "/api/v5/users/subaccount/modify-apikey"),
    ],
)
def test_asking_to_move_money_or_power_locks_it_for_good(
    tmp_path: Path, venue: str, method: str, path: str
) -> None:
    desk = CexDesk(tmp_path, venue)
    desk.ready()
    assert rule(desk.cex(method, path)) == "forbidden"
    assert desk.order() == "locked"
    desk.again()
    assert desk.order() == "locked"


def test_what_is_not_in_the_table_is_denied(tmp_path: Path) -> None:
    desk = CexDesk(tmp_path, "binance")
    desk.ready()
    assert rule(desk.cex("POST", "/fapi/v1/batchOrders")) == "endpoint"
    assert rule(desk.cex("POST", "/fapi/v1/%6frder")) == "grammar"
    assert rule(desk.cex("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")) == "parameter"
    assert rule(desk.cex("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="6")) == "leverage"
    assert rule(desk.cex("POST", "/fapi/v1/leverage", symbol="ETHUSDT", leverage="2")) == "coin"
    assert rule(desk.cex("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")) == "cross"
    _, path, params = order("binance", "buy", "0.01", "50000")
    assert rule(desk.cex("POST", path, **params, closePosition="true")) == "parameter"
    assert rule(desk.cex("POST", path, **{**params, "quantity": "1e-2"})) == "grammar"
    assert rule(desk.cex("POST", path, **{**params, "symbol": "BTCUSDT&x=1"})) == "grammar"
    assert rule(desk.ask("fence", nonce=1)) == "unknown_request"


@pytest.mark.parametrize("path", ["/fapi/v1/openOrders", "/fapi/v1/userTrades", "/fapi/v1/openAlgoOrders"])
def test_what_looks_at_one_symbol_is_signed_for_the_policys_symbols_alone(tmp_path: Path, path: str) -> None:
    desk = CexDesk(tmp_path, "binance")
    assert rule(desk.cex("GET", path, symbol="BTCUSDT")) == "ok"
    assert rule(desk.cex("GET", path, symbol="DOGEUSDT")) == "coin"
    assert rule(desk.cex("GET", path)) == "ok"


def test_looks_without_end_do_not_fill_the_log(tmp_path: Path) -> None:
    desk = CexDesk(tmp_path, "binance")
    for _ in range(1000):
        assert rule(desk.cex("GET", "/fapi/v3/balance")) == "ok"
    desk.wait(60_001)
    assert rule(desk.cex("GET", "/fapi/v3/balance")) == "ok"
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    looks = [line for line in lines if line["kind"] == "look"]
    assert len(looks) == AUDITED_LOOKS_PER_MIN + 1
    assert looks[-1]["not_written"] == 1000 - AUDITED_LOOKS_PER_MIN
    desk.again()
    desk.ready()
    for _ in range(40):  # what changes something has a line of its own each time
        assert rule(desk.cex("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="3")) == "ok"
    assert (tmp_path / "audit.jsonl").read_text().count('"kind":"sign"') == 40


def test_a_stop_only_reduces(tmp_path: Path) -> None:
    desk = CexDesk(tmp_path, "binance")
    desk.ready()
    stop = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.1",
        "stopPrice": "45000",
    }
    opening = desk.cex("POST", "/fapi/v1/order", **stop, newClientOrderId="s1")
    assert rule(opening) == "opening_triggers"
    assert rule(desk.cex("POST", "/fapi/v1/order", **stop, newClientOrderId="s2", reduceOnly="true")) == "ok"


def test_nothing_secret_is_written_down_or_told(desk: CexDesk) -> None:
    desk.ready()
    told = [desk.order(), str(desk.ask("status")), repr(key(desk.venue))]
    told.append(str(desk.cex("POST", "/nowhere", secret=SECRET)))
    told.append((desk.folder / "audit.jsonl").read_text())
    for text in told:
        assert SECRET not in text
        assert PASSPHRASE not in text
        assert API_KEY not in text


def test_a_keystore_gives_back_the_key_to_its_password_only(tmp_path: Path) -> None:
    made = cex_signing.made("okx", API_KEY, SECRET, PASSPHRASE)
    stored = wallet.create_cex(tmp_path / "keys", "testnet", made, "a long password", n=1 << 12)
    text = stored.path.read_text()
    assert SECRET not in text
    assert API_KEY not in text
    assert stored.path.stat().st_mode & 0o777 == 0o600
    again = keystore.read(stored.path)
    assert cex_signing.unpacked(keystore.decrypt(again.crypto, "a long password")) == made
    assert again.address == made.address
    with pytest.raises(keystore.WrongPassword):
        keystore.decrypt(again.crypto, "another password")


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('"testnet"', '"mainnet"', "network must be"),
        ('venue = "binance"', 'venue = "nasdaq"', "venue must be"),
        ('quote = "USDT"', 'quote = "USDC"', "is not the name of a perpetual"),
        ("contract_size = 1", "contract_size = 0.1", "contract_size must be"),
        ("max_leverage", "max_leverages", "max_leverage is missing"),
        ("band", "asset = 1\nband", "asset is not a key"),
        ("turnover_usd_per_day", "turnover", "turnover_usd_per_day is missing"),
    ],
)
def test_a_policy_that_says_too_little_or_too_much_is_refused(was: str, becomes: str, complaint: str) -> None:
    text = policy("binance")
    assert was in text
    with pytest.raises(SignerConfigError, match=complaint):
        cex_policy.parse(text.replace(was, becomes).encode())
