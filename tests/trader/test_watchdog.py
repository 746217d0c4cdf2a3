"""Each fact against its bound, and what wavers: alarms begin at once and end only after several good looks."""

from dataclasses import replace

import pytest

from bot.config_watch import WatchdogSettings
from bot.model.decision import TradingState
from bot.trader.watchdog import Alarm, Bounds, Facts, look, verdict

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
BOUNDS = Bounds()
WELL = Facts(agent_left_days=30.0, clock_offset_s=0.1, free_disk_mb=50_000.0)


@pytest.mark.parametrize(
    ("cause", "within", "beyond", "state", "said"),
    [
        ("venue", {"failures": 2}, {"failures": 3}, REDUCING, "has not answered 3 times in a row"),
        ("data", {"stale_share": 0.49}, {"stale_share": 0.5}, REDUCING, "50% of the coins"),
        ("signer", {"signer_problem": ""}, {"signer_problem": "the signer is gone"}, HALTED, "the signer is gone"),
        ("agent", {"agent_left_days": 1.01}, {"agent_left_days": 0.5}, REDUCING, "ends in 12 hours"),
        ("agent", {"agent_left_days": None}, {"agent_left_days": 0.0}, HALTED, "may not sign any more"),
        ("agent", {"agent_left_days": 14.0}, {"agent_left_days": -3.0}, HALTED, "may not sign any more"),
        ("clock", {"clock_offset_s": 1.99}, {"clock_offset_s": 2.0}, REDUCING, "2.0 s behind the venue's"),
        ("clock", {"clock_offset_s": -1.99}, {"clock_offset_s": -7.0}, REDUCING, "7.0 s ahead of the venue's"),
        ("books", {"unexplained_usd": 24.9}, {"unexplained_usd": 25.0}, REDUCING, "by 25.00 USD"),
        ("books", {}, {"unexplained_lots": {"BTC": -3}}, REDUCING, "-3 lots of BTC"),
        ("disk", {"free_disk_mb": 201.0}, {"free_disk_mb": 199.0}, REDUCING, "only 199 MB"),
        ("disk", {"free_disk_mb": None}, {"free_disk_mb": 50.0}, HALTED, "only 50 MB"),
        ("disk", {"free_disk_mb": 201.0}, {"free_disk_mb": 0.0}, HALTED, "only 0 MB"),
    ],
)  # fmt: skip
def test_a_fact_raises_its_alarm_at_the_bound_and_no_other(
    cause: str, within: dict[str, object], beyond: dict[str, object], state: TradingState, said: str
) -> None:
    assert look(replace(WELL, **within), {}, BOUNDS) == {}  # type: ignore[arg-type]
    alarms = look(replace(WELL, **beyond), {}, BOUNDS)  # type: ignore[arg-type]
    assert alarms.keys() == {cause}
    assert verdict(alarms)[0] is state
    assert said in verdict(alarms)[1]


def test_what_is_not_known_raises_no_alarm() -> None:
    assert look(Facts(), {}, BOUNDS) == {}
    assert verdict({}) == (ACTIVE, "all is well")


def test_an_alarm_ends_after_three_good_looks_in_a_row() -> None:
    alarms = look(replace(WELL, failures=3), {}, BOUNDS)
    states = []
    for failures in (0, 0, 1, 0, 0, 0):
        alarms = look(replace(WELL, failures=failures), alarms, BOUNDS)
        states.append(verdict(alarms)[0])
    # One failure is 0.33 of the bound and counts as good: it ends at the third look.
    assert states == [REDUCING, REDUCING, ACTIVE, ACTIVE, ACTIVE, ACTIVE]


def test_what_wavers_around_its_bound_does_not_switch_trading_on_and_off() -> None:
    alarms: dict[str, Alarm] = {}
    states = []
    for offset_s in (2.1, 1.9, 2.1, 1.9, 1.7, 1.7, 1.7, 1.7, 1.5, 1.5, 1.7, 1.5, 1.5, 1.5):
        alarms = look(replace(WELL, clock_offset_s=offset_s), alarms, BOUNDS)
        states.append(verdict(alarms)[0])
    # 1.7 s is within the bound but above 0.8 of it; two good looks and a bad one begin the count anew.
    assert states == [REDUCING] * 13 + [ACTIVE]


def test_an_alarm_grows_worse_at_once_and_milder_only_by_ending() -> None:
    alarms = look(replace(WELL, free_disk_mb=150.0), {}, BOUNDS)
    assert verdict(alarms)[0] is REDUCING
    alarms = look(replace(WELL, free_disk_mb=40.0), alarms, BOUNDS)
    assert verdict(alarms)[0] is HALTED
    alarms = look(replace(WELL, free_disk_mb=150.0), alarms, BOUNDS)
    assert verdict(alarms)[0] is HALTED
    for _ in range(BOUNDS.heal_looks):
        alarms = look(replace(WELL, free_disk_mb=1000.0), alarms, BOUNDS)
    assert alarms == {}


def test_of_several_alarms_the_strongest_holds_and_all_are_told() -> None:
    alarms = look(replace(WELL, failures=4, signer_problem="the signer is gone"), {}, BOUNDS)
    state, why = verdict(alarms)
    assert state is HALTED
    assert why == "the venue has not answered 4 times in a row; the signer is gone"


def test_a_configs_defaults_are_the_watchdogs_own() -> None:
    assert Bounds(**WatchdogSettings().model_dump(exclude={"schedule_cancel_s"})) == Bounds()
