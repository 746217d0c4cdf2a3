"""Whose signature it is: the address that signed an action, recovered the way Hyperliquid does.

Two ways to sign. An "L1 action" is packed with msgpack, hashed, and the hash signed as the `connectionId` of a
phantom agent. A "user-signed action" is EIP-712 typed data with the action's own fields. A wrong hash does not fail:
it gives the address of nobody, which is what a client with a signing bug sees.
https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/signing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack
from coincurve import PublicKey
from Crypto.Hash import keccak

ZERO_WORD: Final = bytes(32)

# Fields of each user-signed action, in the order that is hashed.
USER_SIGNED: Final[Mapping[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    kind: (name, tuple((field.split()[1], field.split()[0]) for field in fields.split(",")))
    for kind, name, fields in (
        ("usdSend", "UsdSend", "string destination,string amount,uint64 time"),
        ("spotSend", "SpotSend", "string destination,string token,string amount,uint64 time"),
        ("withdraw3", "Withdraw", "string destination,string amount,uint64 time"),
        ("usdClassTransfer", "UsdClassTransfer", "string amount,bool toPerp,uint64 nonce"),
        (
            "sendAsset",
            "SendAsset",
            (
                "string destination,string sourceDex,string destinationDex,string token,string amount,"
                "string fromSubAccount,uint64 nonce"
            ),
        ),
        ("approveAgent", "ApproveAgent", "address agentAddress,string agentName,uint64 nonce"),
        ("approveBuilderFee", "ApproveBuilderFee", "string maxFeeRate,address builder,uint64 nonce"),
        ("userSetAbstraction", "UserSetAbstraction", "address user,string abstraction,uint64 nonce"),
        ("userDexAbstraction", "UserDexAbstraction", "address user,bool enabled,uint64 nonce"),
        (
            "tokenDelegate",
            "TokenDelegate",
            "address validator,uint64 wei,bool isUndelegate,uint64 nonce",
        ),
        ("userPortfolioMargin", "UserPortfolioMargin", "address user,bool enabled,uint64 nonce"),
        ("linkStakingUser", "LinkStakingUser", "address user,bool isFinalize,uint64 nonce"),
        (
            "sendToEvmWithData",
            "SendToEvmWithData",
            (
                "string token,string amount,string sourceDex,string destinationRecipient,string addressEncoding,"
                "uint32 destinationChainId,uint64 gasLimit,bytes data,uint64 nonce"
            ),
        ),
        ("cDeposit", "CDeposit", "uint64 wei,uint64 nonce"),
        ("cWithdraw", "CWithdraw", "uint64 wei,uint64 nonce"),
        ("convertToMultiSigUser", "ConvertToMultiSigUser", "string signers,uint64 nonce"),
    )
}


class BadSignature(Exception):
    """No public key belongs to the signature, or a field can't be hashed as its type."""


def keccak256(data: bytes) -> bytes:
    """The hash that Ethereum uses."""
    return keccak.new(digest_bits=256, data=data).digest()


_DOMAIN_TYPE: Final = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_AGENT_TYPE: Final = keccak256(b"Agent(string source,bytes32 connectionId)")


def _domain(name: bytes, chain_id: int) -> bytes:
    return keccak256(
        _DOMAIN_TYPE + keccak256(name) + keccak256(b"1") + chain_id.to_bytes(32, "big") + ZERO_WORD
    )


_L1_DOMAIN: Final = _domain(b"Exchange", 1337)
_SOURCES: Final = {True: keccak256(b"a"), False: keccak256(b"b")}


def action_hash(
    action: Mapping[str, Any], nonce: int, vault_address: str | None, expires_after: int | None
) -> bytes:
    """The `connectionId` of an L1 action. Raises BadSignature on numbers that msgpack can't hold."""
    try:
        data: bytes = msgpack.packb(action) + nonce.to_bytes(8, "big")
        data += b"\x00" if vault_address is None else b"\x01" + _address_bytes(vault_address)
        if expires_after is not None:
            data += b"\x00" + expires_after.to_bytes(8, "big")
    except (OverflowError, ValueError, TypeError) as error:
        raise BadSignature(str(error)) from None
    return keccak256(data)


def l1_signer(
    action: Mapping[str, Any],
    signature: tuple[int, int, int],
    nonce: int,
    vault_address: str | None,
    expires_after: int | None,
    *,
    mainnet: bool,
) -> str:
    """The address, in lower case, that signed an L1 action for the network."""
    return recover(l1_digest(action, nonce, vault_address, expires_after, mainnet=mainnet), signature)


def l1_digest(
    action: Mapping[str, Any],
    nonce: int,
    vault_address: str | None,
    expires_after: int | None,
    *,
    mainnet: bool,
) -> bytes:
    """What is signed of an L1 action."""
    connection_id = action_hash(action, nonce, vault_address, expires_after)
    struct = keccak256(_AGENT_TYPE + _SOURCES[mainnet] + connection_id)
    return keccak256(b"\x19\x01" + _L1_DOMAIN + struct)


def user_signer(action: Mapping[str, Any], signature: tuple[int, int, int]) -> str:
    """The address, in lower case, that signed a user-signed action. Raises BadSignature on fields of another type."""
    name, fields = USER_SIGNED[action["type"]]
    fields = (("hyperliquidChain", "string"), *fields)
    declared = ",".join(f"{kind} {field}" for field, kind in fields)
    data = keccak256(f"HyperliquidTransaction:{name}({declared})".encode())
    try:
        for field, kind in fields:
            value = action.get(field)
            data += _word("" if value is None and field == "agentName" else value, kind)
        chain_id = int(action["signatureChainId"], 16)
        domain = _domain(b"HyperliquidSignTransaction", chain_id)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadSignature(str(error)) from None
    return recover(keccak256(b"\x19\x01" + domain + keccak256(data)), signature)


def _word(value: Any, kind: str) -> bytes:
    if kind == "string" and isinstance(value, str):
        return keccak256(value.encode())
    if kind == "bool" and isinstance(value, bool):
        return int(value).to_bytes(32, "big")
    if kind == "uint64" and isinstance(value, int) and not isinstance(value, bool) and value < 2**64:
        return value.to_bytes(32, "big")
    if kind == "uint32" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32:
        return value.to_bytes(32, "big")
    if kind == "bytes" and isinstance(value, str):
        return keccak256(bytes.fromhex(value.removeprefix("0x")))
    if kind == "address" and isinstance(value, str):
        return bytes(12) + _address_bytes(value)
    raise TypeError(f"{value!r} is no {kind}")


def _address_bytes(address: str) -> bytes:
    data = bytes.fromhex(address.removeprefix("0x"))
    if len(data) != 20:
        raise ValueError(f"{address!r} is no address")
    return data


def recover(digest: bytes, signature: tuple[int, int, int]) -> str:
    """The address that made signature `(r, s, v)`, v 27 or 28, over a digest. Raises BadSignature if nobody did."""
    r, s, v = signature
    try:
        compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v - 27])
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for a signature of nobody
        raise BadSignature(str(error)) from None
    return address_of(key)


def address_of(key: PublicKey) -> str:
    """The address of a public key, in lower case."""
    return "0x" + keccak256(key.format(compressed=False)[1:])[-20:].hex()
