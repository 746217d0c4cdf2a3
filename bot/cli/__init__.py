"""The `hedgerow` command: which commands there are, and how a mistake is told.

Commands are imported when they are asked for, so `hedgerow --help` imports nothing heavy.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

import click

from bot.errors import HedgerowError
from bot.text import printable

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("bot.cli.init:init", "Set up an agent, its signer and a config for testnet or a devnet."),
    "run": ("bot.cli.run:run", "Run the daemon that CONFIG describes."),
    "guard": ("bot.cli.guard:guard", "Cancel, protect and close where the daemon of CONFIG is silent."),
    "backtest": ("bot.cli.backtest:backtest", "Run CONFIG over recorded history."),
    "devnet": ("bot.cli.devnet:devnet", "Run a simulated Hyperliquid on this computer, to trade on."),
    "trade": ("bot.cli.trade:trade", "Give the running daemon an order by hand."),
    "halt": ("bot.cli.ladder:halt", "Send nothing new, or only what reduces."),
    "flatten": ("bot.cli.ladder:flatten", "Close everything now, and stay halted."),
    "resume": ("bot.cli.ladder:resume", "Trade again after a halt."),
    "scan": ("bot.cli.scan:scan", "Show who is positioned how: funding, open interest, volume, basis."),
    "strategies": ("bot.cli.strategies:strategies", "List strategies and check your own."),
    "data": ("bot.cli.data:data", "Look at a folder of market data, or make one up."),
    "signer": ("bot.cli.signer:signer", "Hold a key apart and sign only what a policy allows."),
    "wallet": ("bot.cli.wallet:wallet", "Make agent keys, have them approved, replace and revoke them."),
    "doctor": ("bot.cli.doctor:doctor", "Check whether what CONFIG describes would run here."),
    "config": ("bot.cli.config:config", "Check and show config files."),
    "status": ("bot.cli.status:status", "Say how the running daemon is doing."),
    "positions": ("bot.cli.positions:positions", "List what is held, its margin and its gain."),
    "orders": ("bot.cli.orders:orders", "List orders and what became of them."),
    "funding": ("bot.cli.funding:funding", "List funding paid and received."),
    "pnl": ("bot.cli.pnl:pnl", "Split profit and loss into price, funding and fees."),
    "whatif": ("bot.cli.whatif:whatif", "Say which leg dies first, and what a move would do to the book."),
    "drill": ("bot.cli.drill:drill", "Practise what may go wrong, on a devnet of this computer."),
    "ledger": ("bot.cli.ledger:ledger", "Check the books against what was written down."),
    "explain": ("bot.cli.explain:explain", "Say why a decision was taken or an order was sent."),
    "replay": ("bot.cli.replay:replay", "Make journaled decisions again and show what differs."),
}
"""Name of a command → where it is defined (`module:attribute`) and its line in `hedgerow --help`."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, and listed without that."""

    def __init__(self, *arguments: Any, lazy: dict[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where there is none of that name."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        where, _ = self.lazy[cmd_name]
        module, _, attribute = where.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise HedgerowError(f"'{cmd_name}' is not part of this version of hedgerow") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table's lines instead of asking each command for its own."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"hedgerow {version('hedgerow')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example:  hedgerow backtest config/backtest-carry.toml --data DIR",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
def cli(debug: bool) -> None:  # main() reads --debug itself
    """Trade perpetual futures on how others are positioned: live, on paper and over history."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0, 1 failed, 2 wrong usage or input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given))


def _run(arguments: list[str]) -> int:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options
    if debug:
        # Taken out here, since it may stand behind the command too, and since parsing itself may fail.
        arguments = [option for option in options if option != "--debug"] + arguments[len(options) :]
    try:
        code = cli.main(args=arguments, prog_name="hedgerow", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`hedgerow orders | head`): leave as quietly as click does when it meets this itself,
        # and keep the interpreter from flushing into the same pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except HedgerowError as error:
        _say(error, str(error), debug)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence, not a traceback
        from bot.logs import redact  # here, so that help stays quick

        what = str(redact(f"unexpected {type(error).__name__}: {error}")).rstrip(": ")
        _say(error, what if debug else f"{what}; run again with --debug to see where", debug)
        return 1
    return code if isinstance(code, int) else 0


def _say(error: Exception, sentence: str, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    click.echo(f"error: {printable(' '.join(sentence.split()))}", err=True)
