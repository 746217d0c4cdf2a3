"""`hedgerow signer`: run the program that holds the key, check its policy, verify its audit log."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bot.errors import ConfigError

FILE = click.Path(path_type=Path)


@contextmanager
def told() -> Iterator[None]:
    """The signer's complaints as the command line's."""
    from bot.signer.policy import SignerConfigError

    try:
        yield
    except SignerConfigError as error:
        raise ConfigError(str(error)) from None


@click.group(epilog="Example:  hedgerow signer policy check policy.toml")
def signer() -> None:
    """Hold a key apart from the daemon and sign only what a policy allows."""


@signer.command(
    epilog="Example:  hedgerow signer run policy.toml --keystore ~/.config/hedgerow/keys/desk.json"
)
@click.argument("policy", type=FILE)
@click.option("--keystore", required=True, type=FILE, help="The agent's keystore file.")
@click.option("--state", type=FILE, help="Folder of nonces and audit log; by default one per key.")
@click.option("--socket", "socket_path", type=FILE, help="Where clients connect; by default one per network.")
@click.option(
    "--peer-uid", "peer_uids", multiple=True, type=int, help="A user who may ask; by default your own only."
)
@click.option(
    "--require-hardening", is_flag=True, help="Refuse to start where a measure did not take effect."
)
@click.option("--password-fd", type=int, metavar="N", help="Read the password from this file descriptor.")
@click.option(
    "--password-env",
    metavar="NAME",
    help="Read it from this environment variable, which others of this user can see.",
)
@click.option(
    "--parent-fd",
    type=int,
    metavar="N",
    help="End when the other end of this pipe closes, as it does when a program that started this one ends.",
)
@click.option("--keyring", is_flag=True, help="Take the password that `wallet remember` stored.")
def run(
    policy: Path,
    keystore: Path,
    state: Path | None,
    socket_path: Path | None,
    peer_uids: tuple[int, ...],
    require_hardening: bool,
    password_fd: int | None,
    password_env: str | None,
    parent_fd: int | None,
    keyring: bool,
) -> None:
    """Unlock KEYSTORE and sign what POLICY allows, until interrupted.

    The password is typed, or comes from the systemd credential hedgerow-keystore-password; an option names another way.
    """
    from bot.signer import program

    setup = program.Setup(policy, keystore, state, socket_path, peer_uids, require_hardening, parent_fd)
    if (password_fd is not None) + (password_env is not None) + keyring > 1:
        raise click.UsageError("give one of --password-fd, --keyring and --password-env")
    with told():
        if keyring:
            # Before the signer gives up what asking a keyring takes.
            known = program.remembered_password(keystore)
            program.run(setup, lambda: known, click.echo)
        else:
            program.run(setup, lambda: program.password(password_env, password_fd), click.echo)


@signer.command(epilog="Example:  hedgerow signer verify audit.jsonl --head head --json")
@click.argument("audit_log", metavar="AUDITLOG", type=FILE)
@click.option(
    "--head", "head_file", type=FILE, help="A head exported before; by default the file `head` beside it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(audit_log: Path, head_file: Path | None, as_json: bool) -> None:
    """Check that no line of AUDITLOG was changed, dropped, moved or cut off since its head was exported."""
    from bot.signer import audit

    exported = head_file or audit_log.with_name("head")
    with told():
        known = audit.read_head(exported)
        if known is None and head_file is not None:
            raise ConfigError(f"there is no file {head_file}; name a head that was exported")
        try:
            head = audit.verify(audit_log, known)
        except OSError as error:
            raise ConfigError(f"{audit_log} cannot be read: {error.strerror}") from None
    facts = {"lines": head.sequence, "hash": head.hash, "reaches_exported_head": known is not None}
    if as_json:
        click.echo(json.dumps(facts))
        return
    against = (
        f"and reaches the head in {exported}"
        if known
        else "but no exported head was there to hold it against"
    )
    click.echo(f"whole: {head.sequence} lines, head {head.hash}, {against}")


@signer.command(epilog="Example:  hedgerow signer unlock policy.toml --keystore KEYSTORE")
@click.argument("policy", type=FILE)
@click.option("--keystore", required=True, type=FILE, help="The agent's keystore file.")
@click.option("--state", type=FILE, help="Folder of nonces and audit log; by default one per key.")
@click.option("--password-fd", type=int, metavar="N", help="Read the password from this file descriptor.")
def unlock(policy: Path, keystore: Path, state: Path | None, password_fd: int | None) -> None:
    """Let a signer that was locked sign again; asks for the password. Stop it first, and find out why it was locked."""
    from bot.signer import program

    with told():
        setup = program.Setup(policy, keystore, state)
        reason = program.unlock(setup, lambda: program.password(None, password_fd))
    click.echo("it was not locked" if reason is None else f"unlocked; it was locked because {reason}")


@signer.group(epilog="Example:  hedgerow signer policy check policy.toml")
def policy() -> None:
    """Look at a policy."""


@policy.command(epilog="Example:  hedgerow signer policy check policy.toml")
@click.argument("file", metavar="POLICY", type=FILE)
def check(file: Path) -> None:
    """Read POLICY as the signer would and say what it allows."""
    from bot.signer import cex_policy
    from bot.signer.limits import dollars
    from bot.signer.requests import plain

    with told():
        rules, cex = cex_policy.limits(file), cex_policy.read(file)
    whose = (
        f"API key {rules.agent}" if cex else f"agent {rules.agent} for account {rules.vault or rules.account}"
    )
    click.echo(f"{cex.name if cex else rules.network}: {whose}")
    allow = cex.allow if cex else rules.allow
    click.echo(f"allows {', '.join(sorted(allow)) or 'nothing'}; {', '.join(sorted(rules.tif))} orders")
    day, gross = dollars(rules.turnover_usd_micro_per_day), dollars(rules.max_gross_usd_micro)
    click.echo(f"at most ${gross} held, ${day} opened a day, {rules.orders_per_min} orders a minute")
    for name, coin in rules.coins.items():
        click.echo(
            f"{name} (asset {coin.asset}): order ${dollars(coin.max_order_usd_micro)}, position "
            f"${dollars(coin.max_position_usd_micro)}, {coin.max_leverage}x, {plain(coin.band_low_e8)} to "
            f"{plain(coin.band_high_e8)}, at most {coin.collar_bps} bps past the reference price"
        )
    click.echo(f"sha256 {rules.sha256}")


@policy.command(epilog="Example:  hedgerow signer policy seal policy.toml --keystore KEYSTORE")
@click.argument("file", metavar="POLICY", type=FILE)
@click.option("--keystore", required=True, type=FILE, help="The agent's keystore file.")
@click.option("--password-fd", type=int, metavar="N", help="Read the password from this file descriptor.")
def seal(file: Path, keystore: Path, password_fd: int | None) -> None:
    """Agree to POLICY as it is now: the signer then refuses it once it was changed by who has no password."""
    from bot.signer import cex_policy, program
    from bot.signer import keystore as keystores
    from bot.signer import seal as seals

    with told():
        rules, stored = cex_policy.limits(file), keystores.read(keystore)
        secret = keystores.decrypt(stored.crypto, program.password(None, password_fd))
        seals.make(file, rules, stored, secret)
    click.echo(f"sealed {file} ({rules.sha256[:12]}) in {seals.path_of(file)}")


@signer.command(epilog="Example:  hedgerow signer status --network testnet")
@click.option(
    "--network", default="testnet", show_default=True, type=click.Choice(["mainnet", "testnet", "devnet"])
)
@click.option(
    "--socket", "socket_path", type=FILE, help="Where the signer listens; by default one per network."
)
def status(network: str, socket_path: Path | None) -> None:
    """Ask a running signer how it is, what is left of its budgets and for the head of its audit log, as JSON."""
    from bot.errors import StateError
    from bot.signer.client import SignerClient, SignerError
    from bot.signer.program import default_socket

    try:
        with SignerClient(socket_path or default_socket(network)) as client:
            click.echo(json.dumps(client.status()))
    except SignerError as error:
        raise StateError(str(error)) from None
