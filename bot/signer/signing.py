"""Hashing and signing of Hyperliquid actions, byte for byte as the venue's own library does it, without its detours.

What never changes (type hashes, domain separators, the two networks' names) is hashed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgpack
import orjson
from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

Network = Literal["mainnet", "testnet"]
ORDER_OF_CURVE: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
WALLET_CHAIN: Final = "0x66eee"


class Signature(NamedTuple):
    """r and s as hex integers without leading zeros, as clients of this venue write them; v is 27 or 28."""

    r: str
    s: str
    v: int


def _plain_keccak(data: bytes) -> bytes:
    return _keccak.new(digest_bits=256, data=data).digest()


class Keccak:
    """Keccak-256 that keeps its C state: a fifth of the time of a new hash object each. Not for several threads.

    Falls back to new objects where the library's inside is not as expected.
    """

    def __init__(self) -> None:
        self._raw: Any = None
        try:
            from Crypto.Util._raw_api import VoidPointer, create_string_buffer, get_raw_buffer

            raw: Any = vars(_keccak)[
                "_raw_keccak_lib"
            ]  # private, so it is checked against the public way below
            pointer = VoidPointer()
            if raw.keccak_init(pointer.address_of(), 64, 24) != 0:
                return
            self._pointer, self._state = pointer, pointer.get()
            self._out = create_string_buffer(32)  # type: ignore[call-arg]
            self._read, self._raw = get_raw_buffer, raw
            if any(self(b"x" * n) != _plain_keccak(b"x" * n) for n in (0, 1, 135, 136, 137, 300)):
                self._raw = None
        except (ImportError, AttributeError, LookupError, TypeError, ValueError):
            self._raw = None

    def __call__(self, data: bytes) -> bytes:
        """The 32-byte hash."""
        raw = self._raw
        if raw is None:
            return _plain_keccak(data)
        state, out = self._state, self._out
        if (
            raw.keccak_reset(state)
            or raw.keccak_absorb(state, data, len(data))
            or raw.keccak_digest(state, out, 32, 1)
        ):
            return _plain_keccak(data)
        return bytes(self._read(out))


keccak256: Final = _plain_keccak


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _domain(name: str, chain_id: int) -> bytes:
    kind = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    parts = (kind, name.encode("ascii"), b"1")
    return keccak256(b"".join(keccak256(part) for part in parts) + _word(chain_id) + _word(0))


_AGENT_TYPE: Final = keccak256(b"Agent(string source,bytes32 connectionId)")
_L1_PREFIX: Final = b"\x19\x01" + _domain("Exchange", 1337)
_AGENT_PREFIX: Final[Mapping[str, bytes]] = {
    "mainnet": _AGENT_TYPE + keccak256(b"a"),
    "testnet": _AGENT_TYPE + keccak256(b"b"),
}


def address_of(public_key: PublicKey) -> str:
    """The address of a key: 0x and 40 lower-case hex digits."""
    return "0x" + keccak256(public_key.format(compressed=False)[1:])[-20:].hex()


def checksum_address(address: str) -> str:
    """The address with the capitals that make typing mistakes visible."""
    digits = address[2:].lower()
    hashed = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(d.upper() if int(h, 16) >= 8 else d for d, h in zip(digits, hashed, strict=False))


def action_bytes(action: Any, vault: str | None, nonce: int, expires_after_ms: int | None) -> bytes:
    """What is hashed of an L1 action: its msgpack, the nonce, whom it acts for, until when."""
    parts: list[bytes] = [msgpack.packb(action), nonce.to_bytes(8, "big")]
    parts.append(b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault[2:]))
    if expires_after_ms is not None:
        parts.append(b"\x00" + expires_after_ms.to_bytes(8, "big"))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Typed:
    """A user-signed action's EIP-712 type: its name after `HyperliquidTransaction:` and its fields in order."""

    name: str
    fields: tuple[tuple[str, str], ...]


def _typed(name: str, fields: str) -> Typed:
    pairs = [pair.split() for pair in fields.split(", ")]
    return Typed(name, (("hyperliquidChain", "string"), *((field, kind) for kind, field in pairs)))


USER_SIGNED: Final[Mapping[str, Typed]] = {
    "approveAgent": _typed("ApproveAgent", "address agentAddress, string agentName, uint64 nonce"),
    "approveBuilderFee": _typed("ApproveBuilderFee", "string maxFeeRate, address builder, uint64 nonce"),
    "usdSend": _typed("UsdSend", "string destination, string amount, uint64 time"),
    "spotSend": _typed("SpotSend", "string destination, string token, string amount, uint64 time"),
    "withdraw3": _typed("Withdraw", "string destination, string amount, uint64 time"),
    "usdClassTransfer": _typed("UsdClassTransfer", "string amount, bool toPerp, uint64 nonce"),
    "sendAsset": _typed(
        "SendAsset",
        "string destination, string sourceDex, string destinationDex, string token, string amount, "
        "string fromSubAccount, uint64 nonce",
    ),
    "userSetAbstraction": _typed("UserSetAbstraction", "address user, string abstraction, uint64 nonce"),
    "userDexAbstraction": _typed("UserDexAbstraction", "address user, bool enabled, uint64 nonce"),
    "tokenDelegate": _typed(
        "TokenDelegate", "address validator, uint64 wei, bool isUndelegate, uint64 nonce"
    ),
    "convertToMultiSigUser": _typed("ConvertToMultiSigUser", "string signers, uint64 nonce"),
}
"""The venue's user-signed actions. The signer's socket offers none of them: they are for the wallet commands and for
servers that check signatures."""


def user_signed_digest(action: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are signed of a user-signed action with its `type`, `signatureChainId`, `hyperliquidChain`.

    Raises KeyError for an unknown type or a missing field, ValueError for one of a wrong form.
    """
    typed = USER_SIGNED[action["type"]]
    kinds = ",".join(f"{kind} {field}" for field, kind in typed.fields)
    encoded = [keccak256(f"HyperliquidTransaction:{typed.name}({kinds})".encode("ascii"))]
    encoded += [_field(kind, action[field]) for field, kind in typed.fields]
    domain = _domain("HyperliquidSignTransaction", int(action["signatureChainId"], 16))
    return keccak256(b"\x19\x01" + domain + keccak256(b"".join(encoded)))


def _field(kind: str, value: Any) -> bytes:
    if kind == "string":
        return keccak256(str(value).encode())
    if kind == "address":
        return bytes(12) + bytes.fromhex(str(value)[2:])
    return _word(int(value))


def typed_data(action: Mapping[str, Any]) -> dict[str, Any]:
    """The same as the JSON that browser and hardware wallets are given (`eth_signTypedData_v4`)."""
    typed = USER_SIGNED[action["type"]]
    domain = (
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
    )
    primary = f"HyperliquidTransaction:{typed.name}"
    return {
        "domain": {
            "name": "HyperliquidSignTransaction",
            "version": "1",
            "chainId": int(action["signatureChainId"], 16),
            "verifyingContract": "0x" + "0" * 40,
        },
        "types": {
            "EIP712Domain": _named(domain),
            primary: _named(typed.fields),
        },
        "primaryType": primary,
        "message": {field: action[field] for field, _ in typed.fields},
    }


def _named(fields: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": field, "type": kind} for field, kind in fields]


def l1_digest(connection_id: bytes, network: Network) -> bytes:
    """The 32 bytes that are signed of an L1 action with this hash."""
    return keccak256(_L1_PREFIX + keccak256(_AGENT_PREFIX[network] + connection_id))


def recover(digest: bytes, signature: Signature) -> str:
    """The address whose key signed; raises ValueError where the signature is none."""
    r, s = int(signature.r, 16), int(signature.s, 16)
    if signature.v not in {27, 28} or not (0 < r < ORDER_OF_CURVE and 0 < s < ORDER_OF_CURVE):
        raise ValueError("the signature's r, s or v is out of range")
    joined = _word(r) + _word(s) + bytes((signature.v - 27,))
    try:
        return address_of(PublicKey.from_signature_and_message(joined, digest, hasher=None))
    except Exception:  # noqa: BLE001 - the library raises bare Exception
        raise ValueError("the signature belongs to no key") from None


class SigningKey:
    """A private key ready to sign, for one network. Its text never shows the key. Not for several threads."""

    __slots__ = ("_agent", "_keccak", "_key", "address", "network")

    def __init__(self, secret: bytes, network: Network) -> None:
        """`secret` is the key's 32 bytes; ValueError where it is not a key."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < ORDER_OF_CURVE:
            raise ValueError("the private key is not 32 bytes within the curve's order")
        self._key = PrivateKey(secret)
        self.address = address_of(self._key.public_key)
        self.network: Network = network
        self._agent = _AGENT_PREFIX[network]
        self._keccak = Keccak()

    def __repr__(self) -> str:
        return f"SigningKey({self.address}, {self.network})"

    def __reduce__(self) -> Any:
        raise TypeError("a signing key is not to be written down")

    def connection_id(
        self, action: Any, vault: str | None, nonce: int, expires_after_ms: int | None
    ) -> bytes:
        """The hash of an L1 action, under which it is signed."""
        return self._keccak(action_bytes(action, vault, nonce, expires_after_ms))

    def sign_l1(self, connection_id: bytes) -> Signature:
        """Sign an L1 action by its hash."""
        keccak = self._keccak
        return self._sign(keccak(_L1_PREFIX + keccak(self._agent + connection_id)))

    def sign_user(self, action: Mapping[str, Any]) -> Signature:
        """Sign a user-signed action; for the wallet commands only."""
        return self._sign(user_signed_digest(action))

    def _sign(self, digest: bytes) -> Signature:
        signed = self._key.sign_recoverable(digest, hasher=None)
        # hex() drops leading zeros, as the venue's own library does.
        return Signature(
            hex(int.from_bytes(signed[:32], "big")),
            hex(int.from_bytes(signed[32:64], "big")),
            27 + signed[64],
        )


def body(
    action: Any, nonce: int, signature: Signature, vault: str | None, expires_after_ms: int | None
) -> str:
    """The JSON to POST to /exchange."""
    rest = "null" if vault is None else f'"{vault}"'
    until = "null" if expires_after_ms is None else expires_after_ms
    return (
        f'{{"action":{orjson.dumps(action).decode("ascii")},"nonce":{nonce},"signature":{{"r":"{signature.r}","s":"{signature.s}",'
        f'"v":{signature.v}}},"vaultAddress":{rest},"expiresAfter":{until}}}'
    )


def approve_agent_action(agent: str, name: str, nonce: int, network: Network) -> dict[str, Any]:
    """The action by which an account lets an agent trade for it; an empty name is the unnamed agent."""
    return {
        "type": "approveAgent",
        "hyperliquidChain": "Mainnet" if network == "mainnet" else "Testnet",
        "signatureChainId": WALLET_CHAIN,
        "agentAddress": agent,
        "agentName": name,
        "nonce": nonce,
    }


def self_test() -> None:
    """Sign a known action with a known key; RuntimeError where the libraries of this machine do it differently."""
    key = SigningKey(
        bytes.fromhex("0123456789012345678901234567890123456789012345678901234567890123"), "mainnet"
    )
    signed = key.sign_l1(key.connection_id({"type": "scheduleCancel"}, None, 0, None))
    expected = "0x6cdfb286702f5917e76cd9b3b8bf678fcc49aec194c02a73e6d4f16891195df9"
    if signed.r != expected or key.address != "0x14791697260e4c9a71f18484c9f997b308e59325":
        raise RuntimeError("signing on this machine gives other signatures than the venue expects")
