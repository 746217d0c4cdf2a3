"""What the adapter says of its signer, its agent and the computer's clock, on a devnet with real approvals."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.errors import Unavailable
from bot.venues.hyperliquid.budget import WeightBudget
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.condition import ASK_AGENT_S, Conditions
from bot.venues.hyperliquid.signing import Whose
from bot.venues.hyperliquid.terms import Terms
from bot.venues.venue import Condition
from bot.venues.venue_clock import VenueClock
from tests.venues.hyperliquid.test_identity import DAY_MS, DAYS, Scene, scene, server

__all__ = ["scene", "server"]  # the fixtures


class Desk:
    """Conditions of a scene's account, with signer and clocks in the test's hands."""

    def __init__(self, scene: Scene, network: str) -> None:
        self.now_s, self.venue_ms = 0.0, scene.server.world.now_ms
        self.wall = ManualClock(self.venue_ms)
        self.answers: Whose | None = scene.whose()
        self.client = Client(scene.server.url, budget=WeightBudget(None))
        self.clock = VenueClock(self._ask_ms, now_s=lambda: self.now_s)
        terms = Terms(scene.server.url, network, scene.whose().account, ("BTC",))
        signs: Any = self  # of all that a signer does only `whose` is asked
        self.conditions = Conditions(
            self.client, signs, self.clock, terms, self.wall, now_s=lambda: self.now_s
        )

    async def _ask_ms(self) -> int:
        return self.venue_ms

    def whose(self) -> Whose:
        if self.answers is None:
            raise Unavailable("no signer answers")
        return self.answers

    async def after(self, seconds: float) -> Condition:
        """All clocks go on by so much."""
        self.now_s += seconds
        self.venue_ms += int(seconds * 1000)
        self.wall.advance(int(seconds * 1000))
        await self.clock.look()
        return await self.conditions.now()


def on(scene: Scene, act: Callable[[Desk], Awaitable[None]], network: str = "testnet") -> None:
    async def run() -> None:
        desk = Desk(scene, network)
        try:
            await act(desk)
        finally:
            await desk.client.close()

    asyncio.run(run())


def test_an_agents_end_comes_nearer_and_is_warned_of(scene: Scene) -> None:
    async def act(desk: Desk) -> None:
        first = await desk.after(0)
        assert first.agent_left_days == pytest.approx(DAYS)
        assert (first.signer_problem, first.agent_warning, first.clock_offset_s) == ("", "", 0.0)
        late = await desk.after((DAYS - 5) * DAY_MS / 1000)
        assert late.agent_left_days == pytest.approx(5)
        assert "ends in 5.0 days" in late.agent_warning
        over = await desk.after(6 * DAY_MS / 1000)
        assert over.agent_left_days is not None
        assert over.agent_left_days <= 0
        assert "expired at" in over.agent_warning

    on(scene, act)


def test_an_agent_that_was_replaced_may_not_sign_from_the_next_time_it_is_asked_for(scene: Scene) -> None:
    async def act(desk: Desk) -> None:
        await desk.after(0)
        scene.approve(scene.owner, "desk")  # of the same name, as by another computer
        within = await desk.after(ASK_AGENT_S - 1)
        assert within.agent_left_days is not None
        assert within.agent_left_days > 1
        after = await desk.after(1)
        assert after.agent_left_days == 0
        assert "is not approved as an agent" in after.agent_warning

    on(scene, act)


def test_a_signer_that_is_gone_is_a_problem_and_one_that_is_back_is_none(scene: Scene) -> None:
    async def act(desk: Desk) -> None:
        answers, desk.answers = desk.answers, None
        gone = await desk.after(0)
        assert gone.signer_problem == "nothing can be signed: no signer answers"
        assert gone.agent_left_days is None
        desk.answers = answers
        back = await desk.after(15)
        assert back.signer_problem == ""
        assert back.agent_left_days == pytest.approx(DAYS, abs=0.01)

    on(scene, act)


def test_a_signer_that_answers_but_is_locked_is_a_problem_with_its_remedy(scene: Scene) -> None:
    async def act(desk: Desk) -> None:
        assert desk.answers is not None
        desk.answers = replace(desk.answers, problem="the signer is locked: it was asked to lock; unlock it")
        locked = await desk.after(0)
        assert locked.signer_problem == (
            "nothing can be signed: the signer is locked: it was asked to lock; unlock it"
        )
        assert locked.agent_left_days == pytest.approx(DAYS)
        desk.answers = replace(desk.answers, problem="")
        assert (await desk.after(15)).signer_problem == ""

    on(scene, act)


@pytest.mark.parametrize(("network", "told"), [("testnet", -7.0), ("mainnet", -7.0), ("devnet", None)])
def test_a_computers_clock_is_held_against_a_venue_that_keeps_real_time(
    scene: Scene, network: str, told: float | None
) -> None:
    async def act(desk: Desk) -> None:
        desk.wall.advance(7_000)  # the computer is ahead
        assert (await desk.after(0)).clock_offset_s == told

    on(scene, act, network)


def test_a_venue_that_is_away_is_no_answer_about_the_agent(scene: Scene) -> None:
    async def act(desk: Desk) -> None:
        await desk.clock.look()
        good, desk.client = desk.client, Client("http://127.0.0.1:9")
        desk.conditions._client = desk.client
        assert (await desk.conditions.now()).agent_left_days is None
        await desk.client.close()
        desk.client = desk.conditions._client = good
        assert (await desk.conditions.now()).agent_left_days == pytest.approx(DAYS)

    on(scene, act)
