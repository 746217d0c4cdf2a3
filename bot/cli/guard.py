"""`hedgerow guard`: an independent process that watches the daemon, and the step that sets it up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli.config import CONFIG, OVERRIDES
from bot.cli.init import NETWORKS, WAYS, Asking, approve_it, secret_of
from bot.cli.signer import FILE, told
from bot.errors import ConfigError

if TYPE_CHECKING:
    from bot.guard.guard import Orders
    from bot.guard.start import Post

WATCH = "watch"


class _Watches(click.Group):
    """A group whose first word may be a config: then it is watched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [WATCH, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Watches,
    subcommand_metavar="CONFIG | init CONFIG",
    epilog="Example:  hedgerow guard init desk/hyperliquid-testnet.toml, then hedgerow guard desk/hyperliquid-testnet.toml",
)
def guard() -> None:
    """Watch over the daemon that CONFIG describes, in a process and with a key of its own.

    Where the daemon gives no sign of life for guard.silent_s it withdraws orders that could open a position and places
    stops that are missing, and after guard.close_after_s, if that is set, it closes everything. It can do nothing
    else, and it does nothing while the daemon lives.
    """


@guard.command(WATCH, hidden=True, epilog="Example:  hedgerow guard desk/hyperliquid-testnet.toml")
@CONFIG
@OVERRIDES
def watch(config_file: Path, overrides: tuple[str, ...]) -> None:
    """Watch until Ctrl-C or SIGTERM."""
    import asyncio

    from bot import app, logs, settings

    loaded = settings.load(config_file, overrides)
    post, orders = app.post_of(loaded)
    file = loaded.logs.file
    # The daemon's own file is the daemon's: two that turn it over would lose lines.
    apart = None if file is None else file.with_name(f"{file.stem}-guard{file.suffix}")
    logs.configure(loaded.logs.format, loaded.logs.level, apart)
    asyncio.run(_watch(post, orders))


async def _watch(post: Post, orders: Orders) -> None:
    import asyncio
    import signal

    import structlog

    from bot.guard.start import standing

    async with standing(post, orders) as it:
        watching = asyncio.ensure_future(it.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, watching.cancel)
        try:
            await watching
        except asyncio.CancelledError:
            structlog.get_logger("hedgerow").info("the guard ends")


@guard.command(epilog="Example:  hedgerow guard init desk/hyperliquid-testnet.toml")
@CONFIG
@OVERRIDES
@click.option("--name", default="hedgerow-guard", show_default=True, help="The agent's name at the venue.")
@click.option("--days", type=click.IntRange(1, 180), default=90, show_default=True, help="How long it lasts.")
@click.option("--meta", type=FILE, help="Take the coins' numbers from this meta or metaAndAssetCtxs reply.")
@click.option(
    "--approve", type=click.Choice(WAYS), help="Who signs the approval: a key typed here, a wallet."
)
@click.option("--chain-id", default="0x66eee", show_default=True, help="Chain an external wallet signs on.")
@click.option("--password-fd", type=int, metavar="N", help="Read the keystore's new password from here.")
@click.option("--key-fd", type=int, metavar="N", help="Read the account's private key from here.")
@click.option("--overwrite", is_flag=True, help="Replace a policy and an agent of the same name.")
@click.option("--non-interactive", is_flag=True, help="Ask nothing.")
def init(
    config_file: Path,
    overrides: tuple[str, ...],
    name: str,
    days: int,
    meta: Path | None,
    approve: str | None,
    chain_id: str,
    password_fd: int | None,
    key_fd: int | None,
    overwrite: bool,
    non_interactive: bool,
) -> None:
    """Set up the guard of CONFIG, beside it: an agent key of its own, approved, and a policy that can only reduce.

    It is an agent beside the daemon's; the account's own key is used once if it is typed here, as by `hedgerow init`.
    """
    from bot import app, settings
    from bot.cli import init_venue
    from bot.cli.approving import new_password
    from bot.cli.init_files import write
    from bot.signer import draft, keystore, seal, wallet
    from bot.signer import policy as policies

    asking = Asking(not non_interactive)
    post, _ = app.post_of(settings.load(config_file, overrides))
    if post.network not in NETWORKS:
        raise ConfigError(
            f"a guard on {post.network} is set up by hand: `hedgerow wallet new`, and a policy like the testnet's"
        )
    folder = config_file.parent
    found = init_venue.look(post.url, post.network, post.account.lower(), post.coins, meta)
    if name in found.agents:
        question = f"{found.master} has an agent {name!r} already; a new one ends it. Go on?"
        asking.agree(overwrite, "--overwrite", question)
    policy = folder / f"guard-policy-{post.network}.toml"
    if policy.exists():
        asking.agree(overwrite, "--overwrite", f"{policy} is there already. Replace it?")
    way = asking.ask(
        approve, "--approve", "Approve the agent with a key typed here, an external wallet, or later", "key"
    )
    if way not in WAYS:
        raise ConfigError(f"{way!r} is none of {', '.join(WAYS)}")
    password = secret_of(password_fd, "--password-fd", asking, new_password)
    with told():
        secret = keystore.new_secret()
        stored = wallet.create(folder / "keys", name, post.network, secret, password)
        wanted = wallet.approval(stored.address, name, post.network, days, chain_id)
        until_ms = None if way == "later" else wanted.valid_until_ms
        write(policy, draft.guard_text(found.draft(stored.address, until_ms, 0)))
        seal.make(policy, policies.read(policy), stored, secret)
        stored = keystore.read(stored.path)
    click.echo(f"wrote {stored.path}: the guard's own agent key")
    click.echo(f"wrote {policy}: its signer's policy, sealed, which can only cancel and reduce")
    if way == "later":
        click.echo(f"next, approve it:   hedgerow wallet approve-agent {stored.path} --send --url {post.url}")
    else:
        with told():
            approve_it(stored, wanted, found, (way, key_fd, asking), post.url)
        for line in init_venue.check(post.url, post.network, found, stored.address):
            click.echo(line)
    click.echo(
        f"then, one terminal: hedgerow signer run {policy} --keystore {stored.path} --socket {post.signer}"
    )
    click.echo(f"and another:        hedgerow guard {config_file}")
