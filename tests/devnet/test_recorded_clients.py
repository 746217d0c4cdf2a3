"""Requests that other published clients made of a devnet, signed with its test keys, are still understood.

Each file holds one client's requests in their order, with what became of the action: `ok` or `err`. The nonces are
those of the recording, which is why the devnet starts at its time.
"""

import json
from pathlib import Path

import pytest

from bot.devnet.start import Options, build

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
NOT_UNDERSTOOD = (
    "User or API Wallet",
    "Must deposit",
    "Unable to recover",
    "Invalid nonce",
    "Nonce mismatch",
)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_requests_of_another_client_are_understood(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    coins = ("BTC", "ETH", "SOL", "HYPE")
    server = build(Options(coins=coins, history_h=6, start_ms=record["start_ms"], paused=True, flow=False))
    actions = 0
    for number, (where, body, outcome) in enumerate(record["requests"]):
        if where == "/info":
            server.info(body)  # raises on one that it can't read
            continue
        reply = server.exchange(body)
        told = f"request {number}, {body['action']['type']}: {reply}"
        assert reply["status"] == outcome, told
        assert not str(reply["response"]).startswith(NOT_UNDERSTOOD), told
        actions += 1
    assert actions >= 12
