"""Signers are recovered from recorded signatures of the venue's own library."""

from typing import Any

import eth_account
import pytest
from hyperliquid.utils import signing

from bot.devnet.signatures import BadSignature, l1_signer, recover, user_signer

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
WALLET = eth_account.Account.from_key(KEY)


def test_the_libraries_published_vectors_give_the_signers_address() -> None:
    # From the library's own tests: {"type": "dummy", "num": 100000000000}, nonce 0; r has lost a leading zero.
    action = {"type": "dummy", "num": 100000000000}
    mainnet = (
        0x53749D5B30552AEB2FCA34B530185976545BB22D0B3CE6F62E31BE961A59298,
        0x755C40BA9BF05223521753995ABB2F73AB3229BE8EC921F350CB447E384D8ED8,
        27,
    )
    testnet = (
        0x542AF61EF1F429707E3C76C5293C80D01F74EF853E34B76EFFFCB57E574F9510,
        0x17B8B32F086E8CDEDE991F1E2C529F5DD5297CBE8128500E00CBAF766204A613,
        28,
    )
    vault = (
        0x3C548DB75E479F8012ACF3000CA3A6B05606BC2EC0C29C50C515066A326239,
        0x4D402BE7396CE74FBBA3795769CDA45AEC00DC3125A984F2A9F23177B190DA2C,
        28,
    )
    assert l1_signer(action, mainnet, 0, None, None, mainnet=True) == ADDRESS
    assert l1_signer(action, testnet, 0, None, None, mainnet=False) == ADDRESS
    assert l1_signer(action, testnet, 0, None, None, mainnet=True) != ADDRESS
    address = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
    assert l1_signer(action, vault, 0, address, None, mainnet=True) == ADDRESS


@pytest.mark.parametrize("expires", [None, 1_700_000_060_000])
def test_expiry_and_vault_are_part_of_what_is_signed(expires: int | None) -> None:
    action = {"type": "cancel", "cancels": [{"a": 0, "o": 77_738_308}]}
    vault = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
    signed = signing.sign_l1_action(WALLET, action, vault, 1_700_000_000_000, expires, False)
    parts = (int(signed["r"], 16), int(signed["s"], 16), signed["v"])
    nonce = 1_700_000_000_000
    assert l1_signer(action, parts, nonce, vault, expires, mainnet=False) == ADDRESS
    assert l1_signer(action, parts, nonce, None, expires, mainnet=False) != ADDRESS
    assert l1_signer(action, parts, nonce, vault, (expires or 0) + 1, mainnet=False) != ADDRESS


def test_the_published_user_signed_vectors_give_the_signers_address() -> None:
    action: dict[str, Any] = {
        "type": "usdSend",
        "destination": "0x5e9ee1089755c3435139848e47e6635505d5a13a",
        "amount": "1",
        "time": 1687816341423,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    send = (
        0x637B37DD731507CDD24F46532CA8BA6EEC616952C56218BAEFF04144E4A77073,
        0x11A6A24900E6E314136D2592E2F8D502CD89B7C15B198E1BEE043C9589F9FAD7,
        27,
    )
    withdraw = (
        0x8363524C799E90CE9BC41022F7C39B4E9BDBA786E5F9C72B20E43E1462C37CF9,
        0x58B1411A775938B83E29182E8EF74975F9054C8E97EBF5EC2DC8D51BFC893881,
        28,
    )
    assert user_signer(action, send) == ADDRESS
    assert user_signer(action | {"type": "withdraw3"}, withdraw) == ADDRESS
    assert user_signer(action | {"amount": "2"}, send) != ADDRESS


def test_an_agent_approval_without_a_name_is_hashed_with_an_empty_one() -> None:
    action: dict[str, Any] = {
        "type": "approveAgent",
        "agentAddress": "0x5e9ee1089755c3435139848e47e6635505d5a13a",
        "agentName": "",
        "nonce": 1_700_000_000_000,
    }
    signed = signing.sign_agent(WALLET, action, False)
    parts = (int(signed["r"], 16), int(signed["s"], 16), signed["v"])
    del action["agentName"]
    assert user_signer(action, parts) == ADDRESS


def test_a_signature_of_nobody_is_refused() -> None:
    with pytest.raises(BadSignature):
        recover(bytes(32), (0, 0, 27))
    with pytest.raises(BadSignature):
        user_signer({"type": "usdSend", "amount": 1, "signatureChainId": "0x1"}, (1, 1, 27))
