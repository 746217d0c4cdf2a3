"""Ask a central exchange's signer for signed requests: as `bot.signer.client`, blocking, with the standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.signer.client import Denied, Holding, Locked, SignerClient, SignerGone

__all__ = ["CexSigner", "Denied", "Holding", "Locked", "SignedRequest", "SignerGone"]


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What is to be sent as it is: the query without its `?`, and the body ("" for none).

    `nonce` numbers what was signed, for `positions`; times are the venue's, in milliseconds. After `expires_after_ms` the
    venue takes it no more.
    """

    headers: Mapping[str, str]
    query: str
    body: str
    nonce: int
    timestamp_ms: int
    expires_after_ms: int
    network: str

    def __repr__(self) -> str:
        return f"SignedRequest(nonce={self.nonce}, timestamp_ms={self.timestamp_ms})"


class CexSigner(SignerClient):
    """A connection to one venue's signer; also tells it prices, positions (in coins, by symbol) and the venue's clock."""

    def sign(self, method: str, path: str, params: Mapping[str, str]) -> SignedRequest:
        """Sign a request. Raises Denied, Locked or SignerGone."""
        ok = self.request("cex", method=method, path=path, params=dict(params))
        return SignedRequest(
            headers=dict(ok["headers"]),
            query=ok["query"],
            body=ok["body"],
            nonce=ok["nonce"],
            timestamp_ms=ok["timestamp_ms"],
            expires_after_ms=ok["expires_after_ms"],
            network=ok["network"],
        )
