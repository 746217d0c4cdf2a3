"""The devnet's own controls, which no exchange has: money from nowhere, the clock, faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson
from aiohttp import web

from bot.clock import utc
from bot.devnet import transfers
from bot.devnet.server import Server
from bot.devnet.wire import Fields, Malformed, decode, text
from bot.errors import Refused
from bot.model.money import MICRO_USD, usd

LARGEST_GIFT_USD: Final = Decimal(10) ** 12
FASTEST: Final = 100_000
LONGEST_ADVANCE_S: Final = 400 * 86_400

Control = Callable[[Server, dict[str, Any]], Any]
"""Answers a JSON object with one. Raises Refused or Malformed."""


def add_routes(app: web.Application, server: Server) -> None:
    """Serve /devnet/faucet, /devnet/clock, /devnet/chaos and /devnet/status."""

    async def answer(request: web.Request) -> web.Response:
        handlers = {
            ("POST", "faucet"): faucet,
            ("POST", "clock"): set_clock,
            ("GET", "clock"): clock,
            ("POST", "chaos"): set_chaos,
            ("GET", "chaos"): chaos,
            ("GET", "status"): status,
        }
        return await respond(server, request, handlers)

    app.router.add_route("*", "/devnet/{what}", answer)


async def respond(
    server: Server, request: web.Request, handlers: Mapping[tuple[str, str], Control]
) -> web.Response:
    """The reply to a control's request; `handlers` are those of this port, by method and name."""
    what = request.match_info["what"]
    handler = handlers.get((request.method, what))
    if handler is None:
        names = dict.fromkeys(f"/devnet/{name}" for _, name in handlers)
        return web.Response(status=404, text=f"there is {', '.join(names)}")
    if request.method == "POST" and "Origin" in request.headers:
        # A page in the operator's browser can post to this computer, also under a name that it made point here.
        return _said({"error": "the controls answer programs, not pages: send no Origin"}, 403)
    try:
        body = decode(await request.read() or b"{}")
        reply = handler(server, body)
        if request.method == "POST" and CHANGES.get(what) is handler and server.keeper is not None:
            server.keeper.control(what, body)
        server.keep()
    except Malformed:
        return _said(
            {"error": "the body must be a JSON object with the fields that docs/devnet.md names"}, 400
        )
    except Refused as refusal:
        return _said({"error": str(refusal)}, 400)
    server.channels.after_action()
    return _said(reply, 200)


def _said(reply: Any, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(reply), status=status, content_type="application/json")


def faucet(server: Server, body: dict[str, Any]) -> Any:
    """`{"user", "usdc"}` or `{"user", "token", "amount"}`: credit any address, and open its account if it has none."""
    user, given = Fields(body).address("user"), body.get("usdc")
    if "token" in body:
        return _spot_faucet(server, user, body)
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        raise Refused(f"usdc must be a number, found {given!r}") from None
    if isinstance(given, bool) or not amount.is_finite() or not MICRO_USD <= amount <= LARGEST_GIFT_USD:
        raise Refused(f"usdc must be above 0 and at most {LARGEST_GIFT_USD}, found {given!r}")
    server.world.catch_up()
    server.world.fund(user, usd(amount))
    return {
        "user": user,
        "usdc": text(usd(amount)),
        "balance": text(server.world.exchange.accounts[user].cash_usd),
    }


def _spot_faucet(server: Server, user: str, body: dict[str, Any]) -> Any:
    world, token = server.world, body["token"]
    if not isinstance(token, str) or token not in world.spot.tokens:
        raise Refused(f"there is no token {token!r}; there are {', '.join(world.spot.tokens)}")
    try:
        amount = Decimal(str(body.get("amount")))
    except InvalidOperation:
        raise Refused(f"amount must be a number, found {body.get('amount')!r}") from None
    decimals = world.spot.decimals(token)
    if not amount.is_finite() or not 0 < amount <= LARGEST_GIFT_USD or amount != round(amount, decimals):
        raise Refused(
            f"amount must be above 0 and at most {LARGEST_GIFT_USD}, of {decimals} decimals, found {amount}"
        )
    world.catch_up()
    transfers.give(world, user, transfers.SPOT, token, amount)
    return {
        "user": user,
        "token": token,
        "amount": text(amount),
        "balance": text(world.spot.exchange.wallets[user].total[token]),
    }


def clock(server: Server, body: dict[str, Any]) -> Any:  # noqa: ARG001
    """Time, speed, and whether it stands."""
    world = server.world
    return {"time": world.now_ms, "utc": utc(world.now_ms), "speed": world.speed, "paused": world.paused}


def set_clock(server: Server, body: dict[str, Any]) -> Any:
    """`{"speed"?, "paused"?, "advance_s"?}`: how fast time passes, whether, and a leap now."""
    unknown = set(body) - {"speed", "paused", "advance_s"}
    if unknown:
        raise Refused(f"the clock has no {sorted(unknown)}; it has speed, paused and advance_s")
    world = server.world
    if world.market.is_real_time:
        raise Refused("the time of a mirror is the mirrored venue's and can't be set")
    speed, paused, advance_s = (
        body.get("speed", world.speed),
        body.get("paused", world.paused),
        body.get("advance_s"),
    )
    if not _is_number(speed) or not 0 < speed <= FASTEST:
        raise Refused(f"speed must be above 0 and at most {FASTEST}, found {speed!r}")
    if not isinstance(paused, bool):
        raise Refused(f"paused must be true or false, found {paused!r}")
    if advance_s is not None and (not _is_number(advance_s) or not 0 <= advance_s <= LONGEST_ADVANCE_S):
        raise Refused(f"advance_s must be from 0 to {LONGEST_ADVANCE_S} seconds, found {advance_s!r}")
    world.set_speed(float(speed), paused=paused)
    if advance_s is not None:
        world.advance(round(advance_s * 1000))
    return clock(server, body)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def chaos(server: Server, body: dict[str, Any]) -> Any:  # noqa: ARG001
    """What goes wrong at present."""
    return server.faults.chaos.shown()


def set_chaos(server: Server, body: dict[str, Any]) -> Any:
    """Change what goes wrong; an empty object ends it. `{"drop_sockets_now": true}` closes every socket once."""
    settings = dict(body)
    if settings.pop("drop_sockets_now", False):
        for connection in server.channels.connections:
            connection.frames.put_nowait(None)
        if not settings:
            return server.faults.chaos.shown()
    server.faults.set(settings)
    return server.faults.chaos.shown()


CHANGES: Final[dict[str, Control]] = {"faucet": faucet}
"""Controls that change more than the time and the faults: what is kept of them is their request."""


def status(server: Server, body: dict[str, Any]) -> Any:
    """Where it is and who was given money at the start."""
    network = "mainnet" if server.door.mainnet else "testnet"
    return {
        "url": server.url,
        "signing": network,
        "coins": server.world.names,
        "accounts": len(server.world.exchange.accounts) - 1,
        "sockets": len(server.channels.connections),
        "clock": clock(server, body),
        **{name: shown() for name, shown in server.more_status.items()},
        **{name: each.status() for name, each in server.sites.items()},
    }
