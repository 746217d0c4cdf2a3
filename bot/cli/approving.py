"""What `init` and `wallet` share: secrets typed without echo, and an agent's approval signed and sent."""

import json
from typing import TYPE_CHECKING, Final

import click

from bot.errors import ConfigError, OutcomeUnknown, Refused, Unavailable

if TYPE_CHECKING:
    from bot.signer.wallet import Approval

URLS: Final = {
    "mainnet": "https://api.hyperliquid.xyz",
    "testnet": "https://api.hyperliquid-testnet.xyz",
    "devnet": "http://127.0.0.1:3001",
}
ON_THIS_COMPUTER: Final = ("127.0.0.1", "localhost", "::1")


def hidden(what: str) -> str:
    """A secret, typed without echo."""
    return str(click.prompt(what, hide_input=True, err=True))


def new_password() -> str:
    """A password, typed twice without echo."""
    return str(
        click.prompt("New password for the keystore", hide_input=True, confirmation_prompt=True, err=True)
    )


def signed_by_key(wanted: "Approval", network: str, account: str | None, key: str) -> tuple[str, str]:
    """(account, HTTP body) of the approval, by the account's private key as text, which is not kept."""
    from bot.signer import wallet

    owner, body = wallet.approve_with(wanted, wallet.secret_from(key), network)
    if account is not None and owner != account.lower():
        raise ConfigError(f"the key entered is of {owner}, not of {account}")
    return owner, body


def signed_elsewhere(wanted: "Approval", account: str) -> tuple[str, str]:
    """The same by a hardware or browser wallet: its payload is printed, its signature asked for."""
    from bot.signer import wallet

    click.echo(json.dumps(wanted.typed_data))
    signature = wallet.signature_from(click.prompt("Signature", err=True))
    return account.lower(), wanted.signed_by(signature, account.lower())


def send(body: str, url: str) -> None:
    """POST a signed body to the venue, and complain about any answer but a plain yes."""
    import urllib.error
    import urllib.parse
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    target = f"{url.rstrip('/')}/exchange"
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ON_THIS_COMPUTER):
        raise ConfigError(f"{target} is neither https nor on this computer")
    request = urllib.request.Request(target, body.encode("ascii"), {"Content-Type": "application/json"})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=15) as reply:  # noqa: S310 - checked above
            answer = json.loads(reply.read(65_536))
    except urllib.error.HTTPError as error:
        text = error.read(500).decode("utf-8", "replace")
        raise Refused(f"{target} answered {error.code}: {text}") from None
    except urllib.error.URLError as error:
        raise Unavailable(f"{target} cannot be reached: {error.reason}; try again") from None
    except (OSError, ValueError):
        raise OutcomeUnknown(
            f"{target} gave no readable answer; look at the account's agents before trying again"
        ) from None
    if not isinstance(answer, dict) or answer.get("status") != "ok":
        raise Refused(f"the venue refused: {json.dumps(answer)[:300]}")
