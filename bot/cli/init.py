"""`hedgerow init`: from nothing to an agent that may trade on testnet or a devnet, and the files that say how."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import click

from bot.cli.approving import URLS, hidden, new_password, send, signed_by_key, signed_elsewhere
from bot.cli.signer import FILE, told
from bot.errors import ConfigError, HedgerowError

if TYPE_CHECKING:
    from bot.cli.init_venue import Found
    from bot.signer.keystore import Keystore
    from bot.signer.wallet import Approval

T = TypeVar("T")
NETWORKS: Final = ("testnet", "devnet")
WAYS: Final = ("key", "wallet", "later")


@dataclass(frozen=True, slots=True)
class Asking:
    """Whether questions may be asked; where not, a missing answer names the option that gives it."""

    allowed: bool

    def ask(self, given: T | None, option: str, question: str, default: T | None = None) -> T:
        """The answer given as an option, or typed."""
        if given is not None:
            return given
        if not self.allowed:
            if default is not None:
                return default
            self.refuse(f"{option} is missing")
        answer: T = click.prompt(question, default=default, err=True)
        return answer

    def agree(self, given: bool, option: str, question: str) -> None:
        """Go on if this is agreed to; else end, nothing more being done."""
        if given:
            return
        if not self.allowed:
            self.refuse(f"{question} Give {option} to say yes")
        click.confirm(question, abort=True, err=True)

    @staticmethod
    def refuse(what: str) -> NoReturn:
        """Say what was not answered."""
        raise click.UsageError(f"{what}, and --non-interactive asks nothing")


@click.command(epilog="Example:  hedgerow init --folder desk")
@click.option("--network", type=click.Choice(NETWORKS), help="testnet, or a devnet on this computer.")
@click.option("--url", help="The venue's server; by default the network's own.")
@click.option("--folder", type=FILE, default=Path(), show_default=True, help="Where to write.")
@click.option("--account", help="Address whose books are traded: an account, sub-account or vault.")
@click.option("--coins", help="Coins to trade, such as BTC,ETH.")
@click.option("--capital", type=click.IntRange(20, 10**7), metavar="USD", help="The most that may be held.")
@click.option("--name", help="The agent's name at the venue, 1 to 16 characters.")
@click.option("--days", type=click.IntRange(1, 180), default=90, show_default=True, help="How long it lasts.")
@click.option("--meta", type=FILE, help="Take the coins' numbers from this meta or metaAndAssetCtxs reply.")
@click.option("--signer", "socket", type=FILE, help="The signer's socket; by default one per network.")
@click.option(
    "--approve", type=click.Choice(WAYS), help="Who signs the approval: a key typed here, a wallet."
)
@click.option("--chain-id", default="0x66eee", show_default=True, help="Chain an external wallet signs on.")
@click.option("--password-fd", type=int, metavar="N", help="Read the keystore's new password from here.")
@click.option("--key-fd", type=int, metavar="N", help="Read the account's private key from here.")
@click.option("--overwrite", is_flag=True, help="Replace files and an agent of the same name.")
@click.option("--non-interactive", is_flag=True, help="Ask nothing.")
def init(
    network: str | None,
    url: str | None,
    folder: Path,
    account: str | None,
    coins: str | None,
    capital: int | None,
    name: str | None,
    days: int,
    meta: Path | None,
    socket: Path | None,
    approve: str | None,
    chain_id: str,
    password_fd: int | None,
    key_fd: int | None,
    overwrite: bool,
    non_interactive: bool,
) -> None:
    """Set up trading on testnet: an agent key, a signer's policy, a config, and the agent's approval.

    The account's own key is used once if it is typed here, never stored and not shown; with --approve wallet it stays
    in its hardware or browser wallet. Nothing is overwritten without a yes.
    """
    from bot.cli import init_venue
    from bot.cli.init_files import config_text, write
    from bot.signer import keystore, seal, wallet
    from bot.signer import policy as policies
    from bot.signer.keystore import new_secret
    from bot.signer.wallet import approval

    asking = Asking(not non_interactive)
    network = asking.ask(network, "--network", f"Network ({' or '.join(NETWORKS)})", "testnet")
    if network not in NETWORKS:
        raise ConfigError(f"network {network!r} is none of {', '.join(NETWORKS)}; mainnet is set up by hand")
    url = url or URLS[network]
    account = asking.ask(account, "--account", "Address whose books are traded").lower()
    listed = asking.ask(coins, "--coins", "Coins", "BTC,ETH")
    names = tuple(dict.fromkeys(coin.strip() for coin in listed.split(",") if coin.strip()))
    found = init_venue.look(url, network, account, names, meta)
    click.echo(found.sentence)
    capital = asking.ask(capital, "--capital", "Dollars that may be held at most, longs plus shorts", 1_000)
    name = asking.ask(name, "--name", "Name of the agent at the venue", "hedgerow")
    if name in found.agents:
        asking.agree(
            overwrite,
            "--overwrite",
            f"{found.master} has an agent {name!r} already; a new one ends it. Go on?",
        )
    config, policy = folder / f"hyperliquid-{network}.toml", folder / f"signer-policy-{network}.toml"
    for path in (config, policy):
        if path.exists():
            asking.agree(overwrite, "--overwrite", f"{path} is there already. Replace it?")
    way = asking.ask(
        approve, "--approve", "Approve the agent with a key typed here, an external wallet, or later", "key"
    )
    if way not in WAYS:
        raise ConfigError(f"{way!r} is none of {', '.join(WAYS)}")
    settings = config_text(network, url, account, names, capital, socket)
    password = secret_of(password_fd, "--password-fd", asking, new_password)
    with told():
        secret = new_secret()
        stored = wallet.create(folder / "keys", name, network, secret, password)
        wanted = approval(stored.address, name, network, days, chain_id)
        until_ms = None if way == "later" else wanted.valid_until_ms
        draft = found.draft(stored.address, until_ms, capital)
        write(policy, found.policy_text(draft))
        write(config, settings)
        seal.make(policy, policies.read(policy), stored, secret)
        stored = keystore.read(stored.path)
    for what, path in (("agent key", stored.path), ("signer's policy, sealed", policy), ("config", config)):
        click.echo(f"wrote {path}: the {what}")
    if way == "later":
        click.echo(f"next, approve it:   hedgerow wallet approve-agent {stored.path} --send --url {url}")
    else:
        with told():
            approve_it(stored, wanted, found, (way, key_fd, asking), url)
        for line in init_venue.check(url, network, found, stored.address):
            click.echo(line)
    at = "" if socket is None else f" --socket {socket}"
    click.echo(f"then, one terminal: hedgerow signer run {policy} --keystore {stored.path}{at}")
    click.echo(f"and another:        hedgerow run {config}")
    click.echo(f"to have it guarded: hedgerow guard init {config}")


def approve_it(
    stored: "Keystore", wanted: "Approval", found: "Found", how: tuple[str, int | None, Asking], url: str
) -> None:
    """Have the account's owner sign an agent's approval, by the way that was chosen, and send it."""
    from bot.signer import wallet

    way, key_fd, asking = how
    try:
        if way == "key":
            what = "Private key of the account (used once, not kept)"
            key = secret_of(key_fd, "--key-fd", asking, lambda: hidden(what))
            _, body = signed_by_key(wanted, str(stored.network), found.master, key)
        else:
            if not asking.allowed:
                asking.refuse("--approve wallet asks for a signature")
            _, body = signed_elsewhere(wanted, found.master)
        send(body, url)
    except HedgerowError as error:
        again = f"hedgerow wallet approve-agent {stored.path} --send --url {url}"
        raise type(error)(f"{error}; the files are written, so go on with `{again}`") from None
    wallet.mark_approved(stored, found.master, wanted.valid_until_ms)
    click.echo(f"approved: {stored.address} may trade for {found.master}, and cannot withdraw")


def secret_of(descriptor: int | None, option: str, asking: Asking, typed: Callable[[], str]) -> str:
    """A secret from a file descriptor, or typed."""
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "rb") as file:
                text = file.read(4096).decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text:
            raise ConfigError(f"nothing can be read from the file descriptor of {option}")
        return text
    if not asking.allowed:
        asking.refuse(f"{option} is missing")
    return typed()
