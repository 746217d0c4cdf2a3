"""The first policy that is drafted: its rates are for as many coins as it has."""

from decimal import Decimal

import pytest

from bot.paper.policy import Bounds, policy_text
from bot.signer import draft, policy


@pytest.mark.parametrize("coins", [1, 2, 30])
def test_the_rates_of_a_draft_are_by_the_coin(coins: int) -> None:
    listed = tuple(draft.DraftCoin(f"C{k}", k, 2, Decimal(100), 20) for k in range(coins))
    address = "0x" + "aa" * 20
    text = draft.text(draft.Draft("testnet", address, None, address, None, listed, 10_000, 5, "a test"))
    rules = policy.parse(text.encode())
    rates = rules.orders_per_min, rules.reduces_per_min, rules.cancels_per_min, rules.denials_per_min
    assert rates == (10 * coins, 20 * coins, 30 * coins, 20 * coins)


def test_a_paper_run_may_be_refused_more_often_the_more_coins_it_has() -> None:
    million = Decimal(1_000_000)
    bounds = Bounds(million, million, million, million, collar_bps=300, orders_per_min=600, max_leverage=5)
    address = "0x" + "aa" * 20

    def denials_per_min(number: int) -> int:
        coins = [f"C{k}" for k in range(number)]
        listed = {
            coin: {"asset": k, "size_decimals": 2, "max_leverage": 20, "mark": "100.0"}
            for k, coin in enumerate(coins)
        }
        return policy.parse(
            policy_text(address, address, coins, listed, bounds, 1.0).encode()
        ).denials_per_min

    assert [denials_per_min(number) for number in (2, 40)] == [10_000, 40_000]
