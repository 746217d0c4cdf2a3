"""Three kinds of failure, one request budget, and a body that is sent at most once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bot.errors import ConfigError, DataError, OutcomeUnknown, Refused, Unavailable
from bot.venues.hyperliquid.budget import WeightBudget, weight_of, weight_of_rows
from bot.venues.hyperliquid.client import Client, checked_url
from tests.venues.hyperliquid.fake import FakeVenue, serving
from tests.venues.hyperliquid.sdk_signer import SdkSigns

ASSETS = {"BTC": 0, "ETH": 1}
ME = SdkSigns(ASSETS).address
STATE = {"type": "clearinghouseState", "user": ME}


def against(venue: FakeVenue, scene: Callable[[Client], Awaitable[None]], timeout_s: float = 0.3) -> None:
    async def run() -> None:
        async with serving(venue):
            client = Client(venue.url, timeout_s=timeout_s, budget=WeightBudget(None))
            try:
                await scene(client)
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["502 before", "502 after", "429", "silent"])
def test_a_failed_question_is_unavailable_and_never_a_flat_account(fault: str) -> None:
    venue = FakeVenue(ME)
    venue.faults["/info"].append(fault)

    async def scene(client: Client) -> None:
        with pytest.raises(Unavailable):
            await client.info(STATE)
        assert (await client.info(STATE)).equity_usd == 10_000

    against(venue, scene)


def test_a_reply_that_is_no_json_is_refused_data_and_an_unread_request_refused() -> None:
    venue = FakeVenue(ME)
    venue.faults["/info"].extend(["html", "422"])

    async def scene(client: Client) -> None:
        with pytest.raises(DataError, match="not JSON"):
            await client.info(STATE)
        with pytest.raises(Refused, match="422"):
            await client.info(STATE)

    against(venue, scene)


def test_a_question_cut_off_is_asked_once_more_and_then_given_up() -> None:
    venue = FakeVenue(ME)
    venue.faults["/info"].extend(["cut before", "", "cut before", "cut before"])

    async def scene(client: Client) -> None:
        assert (await client.info(STATE)).equity_usd == 10_000
        with pytest.raises(Unavailable):
            await client.info(STATE)
        assert len(venue.requests) == 4

    against(venue, scene)


@pytest.mark.parametrize(
    "fault", ["502 before", "502 after", "429", "silent", "cut before", "cut after", "html"]
)
def test_an_action_without_a_clear_answer_is_of_unknown_outcome_and_sent_once(fault: str) -> None:
    venue = FakeVenue(ME)
    venue.faults["/exchange"].append(fault)

    async def scene(client: Client) -> None:
        with pytest.raises(OutcomeUnknown):
            await client.exchange(SdkSigns(ASSETS).cancel([("BTC", 5)]).body)
        assert len(venue.requests) == 1

    against(venue, scene)


def test_an_action_the_venue_can_not_read_is_refused() -> None:
    venue = FakeVenue(ME)
    venue.faults["/exchange"].append("422")

    async def scene(client: Client) -> None:
        with pytest.raises(Refused):
            await client.exchange(SdkSigns(ASSETS).cancel([("BTC", 5)]).body)

    against(venue, scene)


def test_a_question_cancelled_while_it_is_asked_leaves_a_client_that_goes_on() -> None:
    venue = FakeVenue(ME)
    venue.faults["/info"].extend(["silent"] * 20)

    async def scene(client: Client) -> None:
        for _ in range(20):
            asking = asyncio.create_task(client.info(STATE))
            while not venue.requests:  # noqa: ASYNC110 - until it has arrived
                await asyncio.sleep(0.001)
            venue.requests.clear()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert (await client.info(STATE)).equity_usd == 10_000
        assert client._reading is not None
        assert client._reading.connector is not None
        assert len(client._reading.connector._acquired) == 0  # none of the twenty is kept

    against(venue, scene, timeout_s=5)


def test_a_server_that_accepts_and_never_answers_is_given_up_and_an_action_there_is_of_unknown_outcome() -> (
    None
):
    async def run() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", timeout_s=0.1, budget=WeightBudget(None))
        with pytest.raises(Unavailable, match="did not answer"):
            await client.info(STATE)
        with pytest.raises(OutcomeUnknown, match="may have been carried out"):
            await client.exchange(b"{}")
        await client.close()
        server.close()

    asyncio.run(run())


def test_a_reply_larger_than_any_should_be_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.venues.hyperliquid.client.LARGEST_REPLY_BYTES", 100)
    venue = FakeVenue(ME)

    async def scene(client: Client) -> None:
        with pytest.raises(Unavailable, match="larger than any"):
            await client.info(STATE)

    against(venue, scene)


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def run() -> None:
        venue = FakeVenue(ME)
        async with serving(venue):
            url = venue.url
        client = Client(url, timeout_s=1)
        try:
            with pytest.raises(Unavailable):
                await client.exchange(b"{}")
            with pytest.raises(Unavailable):
                await client.info(STATE)
        finally:
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["api.hyperliquid.xyz", "ftp://host", "http://", "https://user@host", "https://h?x=1"]
)
def test_what_is_no_url_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError):
        checked_url(url)


class Clockwork:
    """Time that passes only while somebody sleeps; those who sleep at once do so together."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def now(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        wakes_s = self.now_s + seconds
        await asyncio.sleep(0)
        self.now_s = max(self.now_s, wakes_s)


def test_the_budget_waits_for_what_is_not_urgent_and_keeps_a_fifth_for_what_is() -> None:
    clock = Clockwork()
    budget = WeightBudget(1200, 0.2, clock.now, clock.sleep)

    async def scene() -> None:
        for second in range(48):
            clock.now_s = second / 10
            await budget.take(20)
        assert clock.slept_s == []  # 48 × 20 = 960 = 80 % of 1200
        await budget.take(20)
        assert clock.slept_s == pytest.approx([60 - 4.7])  # until the first of them is a minute old
        for _ in range(200):
            await budget.take(1, urgent=True)
        assert len(clock.slept_s) == 1
        budget.empty()
        assert budget.level == 0
        with pytest.raises(Unavailable, match="budget"):
            await budget.take(20, patience_s=5)
        await budget.take(1, urgent=True)
        clock.now_s += 61
        assert budget.level == 1200

    asyncio.run(scene())


@pytest.mark.parametrize("patient", [True, False])
def test_no_minute_sees_more_than_the_limit_however_it_is_laid(patient: bool) -> None:
    clock = Clockwork()
    budget = WeightBudget(1200, 0.2, clock.now, clock.sleep)
    spent: list[tuple[float, int]] = []

    async def one(weight: int) -> None:
        await budget.take(weight, patient=patient, patience_s=10_000)
        spent.append((clock.now_s, weight))

    async def scene() -> None:
        await asyncio.gather(*(one(2 + 18 * (k % 3)) for k in range(400)))

    asyncio.run(scene())
    most = max(sum(w for at_s, w in spent if from_s <= at_s < from_s + 60) for from_s, _ in spent)
    assert sum(w for _, w in spent) > 5_000
    assert most <= (840 if patient else 960)


def test_what_is_patient_leaves_room_for_what_is_not_and_waits_as_long_as_it_takes() -> None:
    clock = Clockwork()
    budget = WeightBudget(1200, 0.2, clock.now, clock.sleep)

    async def scene() -> None:
        for _ in range(42):
            await budget.take(20, patient=True)
        assert clock.slept_s == []  # 42 × 20 = 840 = 70 % of 1200
        for _ in range(6):
            await budget.take(20)
        assert clock.slept_s == []
        for _ in range(200):
            await budget.take(20, patient=True)
        assert clock.now_s >= 240  # 4,000 more at 840 a minute
        with pytest.raises(Unavailable, match="more than the venue's budget ever holds"):
            await budget.take(1_000, patient=True)

    asyncio.run(scene())


def test_a_storm_of_refusals_for_asking_too_much_ends_asking_for_a_minute() -> None:
    venue, clock = FakeVenue(ME), Clockwork()
    venue.faults["/info"].extend(["429"] * 3)

    async def run() -> None:
        async with serving(venue):
            client = Client(venue.url, budget=WeightBudget(1200, 0.2, clock.now, clock.sleep))
            with pytest.raises(Unavailable, match="429"):
                await client.info(STATE)
            for _ in range(2):
                with pytest.raises(Unavailable, match="429"):
                    await client.info(STATE, urgent=True)
            assert (await client.info({"type": "userRole", "user": ME})).kind == "user"
            assert clock.now_s >= 60
            await client.close()

    asyncio.run(run())
    assert len(venue.requests) == 4


def test_weights_follow_the_venues_table() -> None:
    assert weight_of({"type": "clearinghouseState"}) == 2
    assert weight_of({"type": "metaAndAssetCtxs"}) == 20
    assert weight_of({"type": "userRole"}) == 60
    assert weight_of_rows({"type": "fundingHistory"}, [0] * 500) == 25
    assert weight_of_rows({"type": "candleSnapshot"}, [0] * 5000) == 83
    assert weight_of_rows({"type": "meta"}, [0] * 5000) == 0
