"""What the signer signs of spot markets: purchases within every limit, sales as what only reduces, nothing else."""

from pathlib import Path

import pytest

from tests.signer.support import POLICY, Desk, changed, order

PAIR = """
[coins."UBTC/USDC"]
asset = 10142
size_decimals = 5
band = [40000, 250000]
max_position_usd = 6000
max_leverage = 0
"""
UBTC = {"coin": "UBTC/USDC"}


def desk(folder: Path, text: str = POLICY, size: str = "0") -> Desk:
    made = Desk(folder, text + PAIR)
    made.ask("prices", prices={"BTC": "50000", "UBTC/USDC": "50000"}, at_ms=made.wall_ms)
    held = {"UBTC/USDC": {"size": size, "buys": "0", "sells": "0"}}
    answer = made.ask("positions", positions=held, open_orders=0, through_nonce=0, at_ms=made.wall_ms)
    assert "ok" in answer
    return made


def test_a_purchase_is_signed_by_the_pairs_number_and_within_its_limits(tmp_path: Path) -> None:
    made = desk(tmp_path, size="0.1")  # 5,000 of 6,000 dollars
    bought = order("buy", "0.02", **UBTC)
    answer = made.ask("order", orders=[bought], grouping="na", expires_in_ms=10_000)
    assert '"a":10142' in answer["ok"]["body"]
    assert made.order(order("buy", "0.01", **UBTC)) == "position_usd"
    assert made.order(order("buy", "0.06", **UBTC)) == "order_usd"
    assert made.order(order("buy", "0.001", "50300", **UBTC)) == "collar"
    assert made.order(order("buy", "0.000001", **UBTC)) == "size_decimals"


def test_a_sale_of_spot_only_reduces(tmp_path: Path) -> None:
    made = desk(tmp_path, changed(turnover_usd_per_day=0, orders_per_min=0, max_open_orders=0), size="0.1")
    assert made.order(order("buy", "0.01", **UBTC)) != "ok"
    # Neither the budgets of what opens nor the size of an order hold it up; its collar is that of what reduces.
    assert made.order(order("sell", "0.1", "49000", **UBTC)) == "ok"
    assert made.order(order("sell", "0.1", "48999", **UBTC)) == "collar"
    assert made.order(order("sell", "0.01")) != "ok"  # a perpetual's would open a short


def test_a_sale_of_spot_makes_no_room_for_a_purchase_and_takes_none(tmp_path: Path) -> None:
    made = desk(tmp_path, size="0.1")
    assert made.order(order("sell", "0.1", **UBTC)) == "ok"
    assert made.order(order("buy", "0.021", **UBTC)) == "position_usd"
    assert made.order(order("buy", "0.02", **UBTC)) == "ok"


def test_a_sale_goes_on_counting_as_one_after_a_restart(tmp_path: Path) -> None:
    made = desk(tmp_path, size="0.1")
    assert made.order(order("sell", "0.1", **UBTC)) == "ok"
    left = made.ask("status")["ok"]["left"]
    made.again()
    assert made.ask("status")["ok"]["left"] == left
    assert [each.sells_e8 for each in made.engine.limits.pending] == [0]


@pytest.mark.parametrize("do", ["usdClassTransfer", "spotSend", "sendAsset"])
def test_money_is_moved_between_wallets_by_nobody(tmp_path: Path, do: str) -> None:
    assert desk(tmp_path).rule(do, amount="1", toPerp=False) == "forbidden"


def test_spot_is_never_levered_and_waits_for_no_trigger(tmp_path: Path) -> None:
    made = desk(tmp_path, size="0.1")
    assert made.rule("leverage", coin="UBTC/USDC", leverage=1, is_cross=True) == "leverage"
    stop = {"kind": "sl", "price": "49000", "is_market": True}
    assert made.order(order("sell", "0.1", "49000", tif=None, trigger=stop, **UBTC)) == "opening_triggers"
