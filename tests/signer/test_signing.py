import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.signing import compare
from bot.signer import signing
from tests.signer.support import AGENT, SECRET

ORDER = {
    "type": "order",
    "orders": [{"a": 4, "b": True, "p": "1670.1", "s": "0.0147", "r": False, "t": {"limit": {"tif": "Ioc"}}}],
    "grouping": "na",
}


@pytest.fixture(scope="module")
def vectors(real_data: Path) -> list[dict[str, Any]]:
    folder = real_data.parent / "fixtures" / "hyperliquid" / "signing"
    return [json.loads((folder / f"{name}_vectors.json").read_text()) for name in ("generated", "sdk_test")]


@pytest.mark.real_data
def test_every_recorded_l1_vector_is_reproduced(vectors: list[dict[str, Any]]) -> None:
    compared = 0
    for found in vectors:
        for vector in found["l1"]:
            for network in ("mainnet", "testnet"):
                key = signing.SigningKey(bytes.fromhex(found["private_key"][2:]), network)
                hashed = key.connection_id(
                    vector["action"], vector["vaultAddress"], vector["nonce"], vector["expiresAfter"]
                )
                assert key.sign_l1(hashed)._asdict() == vector[network], vector["name"]
                assert vector.get("connectionId", "0x" + hashed.hex()) == "0x" + hashed.hex()
                compared += 1
    assert compared == 46


@pytest.mark.real_data
def test_every_recorded_user_signed_vector_is_reproduced(vectors: list[dict[str, Any]]) -> None:
    compared = 0
    for found in vectors:
        key = signing.SigningKey(bytes.fromhex(found["private_key"][2:]), "testnet")
        for vector in found["user_signed"]:
            told = vector.get("action") or vector["message"]
            action = {"type": vector["name"].split("_")[0], "agentName": ""} | told
            assert key.sign_user(action)._asdict() == vector["signature"], vector["name"]
            compared += 1
    assert compared >= 11


def test_a_known_action_has_its_known_hash() -> None:
    key = signing.SigningKey(SECRET, "mainnet")
    hashed = key.connection_id(ORDER, None, 1_677_777_606_040, None)

    assert hashed.hex() == "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"


def test_thousands_of_random_actions_are_signed_as_the_venues_library_signs_them() -> None:
    assert compare(3_000, seed=77, keys=60) == 0


@pytest.mark.parametrize("length", [0, 1, 64, 135, 136, 137, 271, 272, 5_000])
def test_the_quick_hash_is_the_plain_one(length: int) -> None:
    data = random.Random(length).randbytes(length)
    quick = signing.Keccak()

    assert quick(data) == quick(data) == signing.keccak256(data)


def test_without_the_librarys_inside_the_hash_is_the_same() -> None:
    slow = signing.Keccak()
    slow._raw = None

    assert slow(b"") == bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")


def test_a_signature_names_its_signer_and_no_other_once_it_was_changed() -> None:
    key = signing.SigningKey(SECRET, "testnet")
    hashed = key.connection_id(ORDER, None, 5, None)
    signature = key.sign_l1(hashed)

    assert signing.recover(signing.l1_digest(hashed, "testnet"), signature) == AGENT
    assert signing.recover(signing.l1_digest(hashed, "mainnet"), signature) != AGENT
    with pytest.raises(ValueError, match="out of range"):
        signing.recover(signing.l1_digest(hashed, "testnet"), signature._replace(v=29))


def test_typed_data_is_what_the_wallets_library_signs() -> None:
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    action = signing.approve_agent_action(
        AGENT, "desk valid_until 1800000000000", 1_790_000_000_000, "mainnet"
    )
    signed = Account.from_key(SECRET).sign_message(encode_typed_data(full_message=signing.typed_data(action)))
    ours = signing.SigningKey(SECRET, "mainnet").sign_user(action)

    assert (int(ours.r, 16), int(ours.s, 16), ours.v) == (signed.r, signed.s, signed.v)


def test_an_address_is_written_with_the_capitals_that_wallets_check() -> None:
    assert signing.checksum_address(AGENT) == "0x14791697260E4c9A71f18484C9f997B308e59325"


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31])
def test_what_is_no_key_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="not 32 bytes within"):
        signing.SigningKey(secret, "testnet")


def test_a_key_shows_and_writes_itself_to_nobody() -> None:
    key = signing.SigningKey(SECRET, "testnet")

    assert SECRET.hex() not in repr(key) + str(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
