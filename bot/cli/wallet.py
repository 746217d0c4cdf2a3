"""`hedgerow wallet`: make an agent key, have it approved, replace and revoke it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bot.cli.approving import URLS, hidden, new_password, send, signed_by_key, signed_elsewhere
from bot.cli.signer import FILE, told
from bot.errors import ConfigError

if TYPE_CHECKING:
    from bot.signer.keystore import Keystore
    from bot.signer.wallet import Approval

KEYS: Final = Path("~/.config/hedgerow/keys")
FOLDER = click.option(
    "--folder",
    type=FILE,
    default=KEYS,
    show_default=True,
    help="Where keystores are (a folder of mode 0700).",
)
NETWORK = click.option(
    "--network", required=True, type=click.Choice(list(URLS)), help="Which network the agent is for."
)


@click.group(epilog="Example:  hedgerow wallet new --name desk --network testnet")
def wallet() -> None:
    """Make agent keys, have them approved, replace and revoke them.

    An agent may trade for an account and cannot withdraw. The account's own key is never stored here.
    """


@wallet.command(epilog="Example:  hedgerow wallet new --name desk --network testnet")
@click.option("--name", required=True, help="The agent's name at the venue, 1 to 16 characters.")
@NETWORK
@FOLDER
def new(name: str, network: str, folder: Path) -> None:
    """Make a fresh agent key and encrypt it under a password that is asked for."""
    from bot.signer import keystore
    from bot.signer import wallet as wallets

    with told():
        made = wallets.create(folder.expanduser(), name, network, keystore.new_secret(), new_password())
    click.echo(f"{made.address} in {made.path}; next: hedgerow wallet approve-agent {made.path}")


@wallet.command("import", epilog="Example:  hedgerow wallet import --name desk --network testnet")
@click.option("--name", required=True, help="The agent's name at the venue, 1 to 16 characters.")
@NETWORK
@FOLDER
def import_key(name: str, network: str, folder: Path) -> None:
    """Encrypt an agent key that the venue's website made; the key is asked for, without echo."""
    from bot.signer import wallet as wallets

    with told():
        secret = wallets.secret_from(hidden("Private key of the agent"))
        made = wallets.create(folder.expanduser(), name, network, secret, new_password())
    click.echo(f"{made.address} in {made.path}")


@wallet.command("import-cex", epilog="Example:  hedgerow wallet import-cex binance --network testnet")
@click.argument("venue", type=click.Choice(["binance", "bybit", "okx"]))
@click.option(
    "--network",
    required=True,
    type=click.Choice(["testnet", "devnet"]),
    help="Which of the venue's networks the key is for.",
)
@FOLDER
def import_cex(venue: str, network: str, folder: Path) -> None:
    """Encrypt an API key of a central exchange; its parts are asked for without echo, or read from standard input.

    From standard input it takes one line each: API key, secret, OKX's passphrase, and the keystore's new password.
    Make the key without the right to withdraw. The line printed names it for the policy's `agent`.
    """
    from bot.signer import cex_signing
    from bot.signer import wallet as wallets

    with told():
        api_key, secret = _hidden_or_line("API key"), _hidden_or_line("Secret")
        passphrase = _hidden_or_line("Passphrase") if venue == "okx" else ""
        key = cex_signing.made(venue, api_key.strip(), secret.strip(), passphrase)
        password = new_password() if sys.stdin.isatty() else _hidden_or_line("Password")
        stored = wallets.create_cex(folder.expanduser(), network, key, password)
    click.echo(f"{stored.address} in {stored.path}")


def _hidden_or_line(what: str) -> str:
    """A secret, typed without echo, or the next line where nobody types."""
    return hidden(what) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


@wallet.command("list", epilog="Example:  hedgerow wallet list --json")
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_keys(folder: Path, as_json: bool) -> None:
    """List keystores: whose agents they are, until when, and which end soon."""
    from bot.clock import utc
    from bot.signer import keystore
    from bot.signer.expiry import expiry_warning
    from bot.signer.wallet import now_ms

    rows = []
    for each in keystore.listed(folder.expanduser()):
        until = each.valid_until_ms
        warning = None if until is None or each.revoked else expiry_warning(until, now_ms())
        row = {
            "path": str(each.path),
            "address": each.address,
            "name": each.name,
            "network": each.network,
            "account": each.account,
            "valid_until": None if until is None else utc(until),
            "state": "revoked" if each.revoked else "approved" if each.approved else "not approved",
            "warning": warning,
        }
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(f"no keystores in {folder}")
    for row in rows:
        until_text = f" until {row['valid_until']}" if row["valid_until"] else ""
        click.echo(
            f"{row['name']}  {row['network']}  {row['address']}  {row['state']}{until_text}  {row['path']}"
        )
        if row["warning"]:
            click.echo(f"  warning: {row['warning']}")


APPROVING = (
    click.option(
        "--days", type=click.IntRange(1, 180), default=90, show_default=True, help="How long it lasts."
    ),
    click.option(
        "--external",
        is_flag=True,
        help="Print the EIP-712 payload for a hardware or browser wallet, and ask for its signature.",
    ),
    click.option("--account", help="The account's address; needed with --external."),
    click.option(
        "--chain-id", default="0x66eee", show_default=True, help="The chain an external wallet signs on."
    ),
    click.option(
        "--send", "send_it", is_flag=True, help="Send the approval to the venue; by default it is printed."
    ),
    click.option("--url", help="Send to this server instead of the network's own."),
)


def _approving(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(APPROVING):
        command = option(command)
    return command


@wallet.command("approve-agent", epilog="Example:  hedgerow wallet approve-agent KEYSTORE --days 90 --send")
@click.argument("keystore", type=FILE)
@_approving
def approve_agent(
    keystore: Path,
    days: int,
    external: bool,
    account: str | None,
    chain_id: str,
    send_it: bool,
    url: str | None,
) -> None:
    """Let the account's owner approve the agent in KEYSTORE.

    The account's private key is asked for, used once and not kept; with --external it stays in its wallet.
    """
    from bot.signer import keystore as keystores
    from bot.signer import wallet as wallets

    with told():
        stored = keystores.read(keystore)
        if stored.revoked:
            raise ConfigError(f"{keystore} was revoked, and an agent's address is used once; make a new one")
        network = _network(stored)
        wanted = wallets.approval(stored.address, stored.name, network, days, chain_id)
        owner, body = _signed(wanted, network, external, account)
        _deliver(body, network, send_it, url)
        if send_it or url:
            wallets.mark_approved(stored, owner, wanted.valid_until_ms)
            click.echo(f"approved {stored.address} for {owner} for {days} days")


@wallet.command(epilog="Example:  hedgerow wallet rotate KEYSTORE --send")
@click.argument("keystore", type=FILE)
@_approving
def rotate(
    keystore: Path,
    days: int,
    external: bool,
    account: str | None,
    chain_id: str,
    send_it: bool,
    url: str | None,
) -> None:
    """Make a new key under KEYSTORE's name and have it approved; the venue then forgets the old agent."""
    from bot.signer import keystore as keystores
    from bot.signer import wallet as wallets

    with told():
        old = keystores.read(keystore)
        network = _network(old)
        made = wallets.create(old.path.parent, old.name, network, keystores.new_secret(), new_password())
        click.echo(f"{made.address} in {made.path}")
        wanted = wallets.approval(made.address, made.name, network, days, chain_id)
        owner, body = _signed(wanted, network, external, account or old.account)
        _deliver(body, network, send_it, url)
        if send_it or url:
            wallets.mark_approved(made, owner, wanted.valid_until_ms)
            wallets.mark_revoked(old)
            click.echo(
                f"approved {made.address} for {owner}; {old.address} is revoked; change `agent` and `agent_valid_until` in its policy"
            )


@wallet.command(epilog="Example:  hedgerow wallet revoke KEYSTORE --send")
@click.argument("keystore", type=FILE)
@_approving
def revoke(
    keystore: Path,
    days: int,
    external: bool,
    account: str | None,
    chain_id: str,
    send_it: bool,
    url: str | None,
) -> None:
    """End the agent in KEYSTORE: an address without a key is approved under its name."""
    from bot.signer import keystore as keystores
    from bot.signer import wallet as wallets

    with told():
        stored = keystores.read(keystore)
        network = _network(stored)
        # Marked first: whatever comes of the rest, this key shall not sign again here.
        stored = wallets.mark_revoked(stored)
        wanted = wallets.approval(wallets.nobody(), stored.name, network, days, chain_id)
        _, body = _signed(wanted, network, external, account or stored.account)
        _deliver(body, network, send_it, url)
        if send_it or url:
            click.echo(f"{stored.address} may no longer trade")


@wallet.command(epilog="Example:  hedgerow wallet remember KEYSTORE")
@click.argument("keystore", type=FILE)
def remember(keystore: Path) -> None:
    """Store KEYSTORE's password in the desktop's keyring, for `hedgerow signer run --keyring`.

    Whoever uses this desktop session can then unlock the key; typing the password keeps it safer.
    """
    from bot.signer import keystore as keystores
    from bot.signer import remembered

    with told():
        stored = keystores.read(keystore)
        password = hidden("Password of the keystore")
        keystores.decrypt(stored.crypto, password)
        click.echo(f"the password of {stored.address} is in {remembered.remember(stored.address, password)}")


@wallet.command(epilog="Example:  hedgerow wallet forget KEYSTORE")
@click.argument("keystore", type=FILE)
def forget(keystore: Path) -> None:
    """Remove KEYSTORE's password from the desktop's keyring."""
    from bot.signer import keystore as keystores
    from bot.signer import remembered

    with told():
        stored = keystores.read(keystore)
        remembered.forget(stored.address)
        click.echo(f"the keyring no longer holds the password of {stored.address}")


def _network(stored: "Keystore") -> str:
    if stored.network not in URLS:
        raise ConfigError(f"keystore {stored.path} names no network; import its key with --network")
    return stored.network


def _signed(wanted: "Approval", network: str, external: bool, account: str | None) -> tuple[str, str]:
    """(account, HTTP body) of the approval."""
    if not external:
        return signed_by_key(
            wanted, network, account, hidden("Private key of the account (used once, not kept)")
        )
    if account is None:
        raise click.UsageError("--external needs --account, the address that signs")
    return signed_elsewhere(wanted, account)


def _deliver(body: str, network: str, send_it: bool, url: str | None) -> None:
    """Print the body, or send it."""
    if send_it or url is not None:
        send(body, url or URLS[network])
        return
    click.echo(body)
    click.echo(f"POST this to {URLS[network]}/exchange, or run again with --send", err=True)
