"""What a guard does at the venue, and that it does nothing while the daemon lives: on a devnet."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.errors import OutcomeUnknown, StateError
from bot.guard.notes import Notes, alone
from bot.guard.scene import MARK
from bot.model.order import Fill, OrderStatus, Purpose, Side
from bot.venues.hyperliquid.signing import NotSigned
from tests.guard.post import CLOSE_S, ORDERS, SILENT_S, Post, play
from tests.venues.hyperliquid.test_on_devnet import COINS, START_MS, control, to_next_hour


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=48, flow=False, paused=True, start_ms=START_MS)) as server:
        yield server


@pytest.fixture
def post(devnet: Server, tmp_path: Path) -> Post:
    return Post(devnet, tmp_path)


def test_while_the_daemon_lives_nothing_is_done(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        await post.send(post.bid())
        before = await post.open_now()
        for _ in range(50):
            post.pulse.beat()
            await post.rounds(SILENT_S - 1)
        assert await post.open_now() == before
        assert post.held() == {"BTC": lots}
        assert post.notes.sent == 0

    play(post, scene)


def test_silence_withdraws_what_could_open_and_protects_what_is_held(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        await post.bought("ETH", 1_000)
        eth = post.held()["ETH"]
        (stop,) = await post.send(post.stop("ETH", eth))
        (bid,) = await post.send(post.bid())
        await post.rounds(SILENT_S - 1)
        assert bid.order_id in {each.order_id for each in await post.open_now()}
        await post.rounds(1)
        now = {each.order_id: each for each in await post.open_now()}
        assert bid.order_id not in now
        assert now.pop(stop.order_id).trigger == stop.order.trigger  # the daemon's own stays as it was
        (added,) = now.values()
        size = post.instrument("BTC").size(lots)
        assert (added.coin, added.side, added.original, added.reduce_only) == ("BTC", Side.SELL, size, True)
        entry = post.devnet.world.exchange.accounts[post.address].positions["BTC"].entry_price
        assert added.trigger.price == post.instrument("BTC").round_price(entry * Decimal("0.9"))
        assert added.cloid.startswith(f"0x{MARK}")
        await post.rounds(60, 5)
        assert {each.order_id for each in await post.open_now()} == {stop.order_id, added.order_id}
        assert post.held() == {"BTC": lots, "ETH": eth}

    play(post, scene)


def test_a_stop_that_covers_a_part_is_left_and_the_rest_is_covered(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        await post.send(post.stop("BTC", lots // 3))
        await post.rounds(SILENT_S)
        sizes = sorted(post.instrument("BTC").lots(each.original) for each in await post.open_now())
        assert sizes == sorted([lots // 3, lots - lots // 3])

    play(post, scene)


def test_a_position_whose_price_is_beyond_its_stop_is_closed_at_once(devnet: Server, tmp_path: Path) -> None:
    async def scene(post: Post) -> None:
        await post.bought()  # half the spread above mark, which is further than the stop
        await post.rounds(SILENT_S)
        assert post.held() == {}

    play(Post(devnet, tmp_path, replace(ORDERS, stop_loss=1e-6, close_after_s=None)), scene)


def test_a_longer_silence_closes_everything_until_the_venue_says_flat(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        (short,) = await post.send(post.order("ETH", Side.SELL, 1_000))
        assert short.status is OrderStatus.FILLED
        await post.rounds(SILENT_S)
        assert len(post.held()) == 2
        await post.rounds(CLOSE_S - SILENT_S)
        assert post.held() == {}
        with capture_logs() as said:
            await post.rounds(60, 3)
        assert [each["event"] for each in said] == ["nothing left for the guard to do"]

    play(post, scene)


def test_it_closes_again_where_a_first_attempt_did_not(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        exchange = post.client.exchange
        failures: list[Any] = []

        async def lost(body: bytes) -> Any:
            action = json.loads(body)["action"]
            if action["type"] == "order" and "limit" in action["orders"][0]["t"] and len(failures) < 3:
                failures.append(action)
                raise OutcomeUnknown("no answer")
            return await exchange(body)

        post.client.exchange = lost  # type: ignore[method-assign]
        await post.rounds(SILENT_S)
        await post.rounds(CLOSE_S)
        for _ in range(10):
            await control(post, "clock", advance_s=40)  # beyond the expiry of what was sent
            await post.rounds(100)
        assert len(failures) == 3
        assert post.held() == {}

    play(post, scene)


def test_after_an_unknown_outcome_nothing_is_placed_before_it_has_expired(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        exchange = post.client.exchange
        sent: list[bytes] = []

        async def unanswered(body: bytes) -> Any:
            sent.append(body)
            if len(sent) == 1:
                raise OutcomeUnknown("no answer")
            return await exchange(body)

        post.client.exchange = unanswered  # type: ignore[method-assign]
        await post.rounds(SILENT_S)
        post.stand()  # and a restart knows it too
        post.client.exchange = unanswered  # type: ignore[method-assign]
        await post.rounds(100, 3)
        assert len(sent) == 1
        await exchange(sent[0])  # it comes after all
        await control(post, "clock", advance_s=40)
        await post.rounds(100, 3)
        assert len(sent) == 1
        assert len(await post.open_now()) == 1

    play(post, scene)


def test_it_stands_back_in_the_middle_of_a_round(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        await post.send(post.bid())
        exchange = post.client.exchange

        async def returns(body: bytes) -> Any:
            post.pulse.beat()  # the daemon is back, just now
            return await exchange(body)

        post.client.exchange = returns  # type: ignore[method-assign]
        await post.rounds(SILENT_S + CLOSE_S)
        assert await post.open_now() == []  # what was on its way; no stop, no close
        with capture_logs() as said:
            await post.rounds(1)
        assert [each["event"] for each in said] == ["the daemon lives again; the guard stands back"]
        assert post.held() == {"BTC": lots}

    play(post, scene)


def test_a_daemon_that_comes_back_finds_strangers_and_no_twin_and_its_books_agree(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.bought("ETH", 1_000)
        await post.account()
        saved = post.venue.checkpoint()
        await post.rounds(SILENT_S)
        await post.venue.close()
        await post.connect(saved)
        post.hear()
        state = await post.account()
        stops = [each.order for each in state.view.open_orders]
        assert {(each.instrument, each.purpose) for each in stops} == {
            ("BTC", Purpose.EXTERNAL),
            ("ETH", Purpose.EXTERNAL),
        }
        assert (await post.venue.condition()).twin == ""
        await post.rounds(CLOSE_S)
        assert post.held() == {}
        state = await post.account()
        assert [fill.purpose for fill in post.of(Fill)[-2:]] == [Purpose.EXTERNAL] * 2
        post.agree(state)
        await to_next_hour(post)
        post.agree((await post.observe()).account)

    play(post, scene)


def test_what_others_have_placed_is_theirs_until_everything_is_closed(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.send(post.bid())
        price = post.bid("BTC").limit_price
        theirs = {"a": 0, "b": True, "p": f"{price}", "s": "0.01", "r": False, "t": {"limit": {"tif": "Gtc"}}}
        await post.by_hand(theirs)
        await post.rounds(SILENT_S)
        left = [each for each in await post.open_now() if each.trigger is None]
        assert [each.cloid for each in left] == [None]
        await post.rounds(CLOSE_S)
        assert [each for each in await post.open_now() if each.trigger is None] == []
        assert post.held() == {}

    play(post, scene)


def test_a_stop_of_somebody_else_protects_as_well(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        size = post.instrument("BTC").size(lots)
        level = post.stop("BTC", lots).trigger
        assert level is not None
        kind = {"trigger": {"isMarket": True, "triggerPx": f"{level.price}", "tpsl": "sl"}}
        theirs = {"a": 0, "b": False, "p": f"{level.price}", "s": f"{size}", "r": True, "t": kind}
        await post.by_hand(theirs)
        await post.rounds(SILENT_S, 3)
        assert [each.cloid for each in await post.open_now()] == [None]

    play(post, scene)


def test_a_daemon_that_was_ended_in_order_is_protected_and_not_closed(post: Post) -> None:
    async def scene(post: Post) -> None:
        lots = await post.bought()
        await post.send(post.bid())
        post.pulse.beat(ended=True)
        await post.rounds(1)
        await post.rounds(CLOSE_S * 2, 3)
        (stop,) = await post.open_now()
        assert stop.trigger is not None
        assert post.held() == {"BTC": lots}

    play(post, scene)


def test_without_any_sign_of_life_there_is_nothing_to_guard(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        post.pulse.path.unlink()
        post.stand()
        await post.rounds(CLOSE_S, 5)
        assert await post.open_now() == []
        assert post.held()

    play(post, scene)


def test_a_guard_that_starts_gives_the_daemon_its_time_and_one_that_goes_on_does_not(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        post.passes(CLOSE_S * 100)  # the machine was off
        post.stand()
        await post.rounds(SILENT_S - 1)
        assert await post.open_now() == []
        await post.rounds(1)
        assert len(await post.open_now()) == 1
        assert post.held()
        post.stand()
        await post.rounds(1)
        assert post.held()  # closing waits after each start
        await post.rounds(SILENT_S)
        assert post.held() == {}

    play(post, scene)


def test_a_file_that_is_gone_is_silence_and_the_next_sign_ends_it(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.rounds(1)
        post.pulse.path.unlink()
        await post.rounds(SILENT_S)
        assert len(await post.open_now()) == 1
        post.pulse.beat()
        await post.rounds(1)
        assert not post.notes.is_alarmed

    play(post, scene)


def test_an_order_that_can_not_be_withdrawn_keeps_no_position_from_its_stop(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.send(post.bid())

        def refuses(cancels: Any) -> Any:
            raise NotSigned("the signer refused by its rule cancels_per_min")

        post.guards_signs.cancel = refuses  # type: ignore[method-assign]
        with capture_logs() as said:
            await post.rounds(SILENT_S)
        assert len([each for each in await post.open_now() if each.trigger is not None]) == 1
        assert "cancels_per_min" in next(e["reason"] for e in said if e["event"] == "guard could not act")

    play(post, scene)


def test_a_coin_that_its_signer_refuses_keeps_no_other_from_its_stop(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.bought("ETH", 1_000)
        post.guards_signs.denied = {"BTC"}
        await post.rounds(SILENT_S)
        assert [each.coin for each in await post.open_now()] == ["ETH"]
        post.guards_signs.denied = set()
        await post.rounds(100)
        assert {each.coin for each in await post.open_now()} == {"BTC", "ETH"}

    play(post, scene)


def test_a_signer_that_is_gone_is_told_of_before_it_is_needed(post: Post) -> None:
    async def scene(post: Post) -> None:
        from bot.errors import Unavailable

        def gone() -> Any:
            raise Unavailable("the signer does not answer")

        whose = post.guards_signs.whose
        post.guards_signs.whose = gone  # type: ignore[method-assign]
        with capture_logs() as said:
            for _ in range(5):
                post.pulse.beat()
                await post.rounds(61)
            post.guards_signs.whose = whose  # type: ignore[method-assign]
            post.pulse.beat()
            await post.rounds(61)
        events = [each["event"] for each in said]
        assert events.count("the guard could not act now") == 1
        assert events[-1] == "the guard could act again"

    play(post, scene)


def test_its_steps_are_written_down_and_its_names_never_used_twice(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        await post.send(post.bid())
        await post.rounds(SILENT_S)
        await post.rounds(CLOSE_S)
        told = json.loads(post.notes.path.read_text())
        assert [each["what"] for each in told["steps"]] == ["silence", "withdraws", "places", "places"]
        cloids = [each["cloid"] for each in told["steps"] if each["what"] == "places"]
        assert len(set(cloids)) == 2
        post.stand()
        assert post.notes.sent == told["sent"]

    play(post, scene)


def test_notes_of_another_account_or_that_can_not_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.guard"
    Notes(path, "devnet 0xa").save()
    with pytest.raises(StateError, match="are of devnet 0xa"):
        Notes(path, "devnet 0xb")
    for text in ("", "[]", "{}", '{"version": 1, "whose": "devnet 0xa", "beat": 3}'):
        path.write_text(text)
        with pytest.raises(StateError, match="can't be read"):
            Notes(path, "devnet 0xa")


def test_a_full_disk_keeps_no_position_from_its_stop(post: Post) -> None:
    async def scene(post: Post) -> None:
        await post.bought()
        post.notes.path.with_name(f"{post.notes.path.name}.new").mkdir()  # in the way of every writing
        with capture_logs() as said:
            await post.rounds(SILENT_S)
        assert "the guard's notes can't be written" in [each["event"] for each in said]
        assert len(await post.open_now()) == 1

    play(post, scene)


def test_there_is_one_guard_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.guard"
    with alone(path), pytest.raises(StateError, match="another guard"), alone(path):
        pass
    with alone(path):
        pass
