"""`hedgerow devnet`: a simulated Hyperliquid on this computer that any client can trade on."""

from pathlib import Path
from typing import Any

import click


@click.command(epilog="Example:  hedgerow devnet --port 3001 --speed 60 --coins BTC,ETH")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3001, show_default=True, help="0 takes a free one."
)
@click.option(
    "--cex-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Be a Binance USDⓈ-M too, on this port; 0 takes a free one.",
)
@click.option(
    "--cex-usdt",
    type=click.IntRange(0, 10**12),
    default=0,
    show_default=True,
    help="What the account of the ready line has there at the start.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--market", type=click.Choice(["synthetic", "replay", "mirror"]), default="synthetic", show_default=True
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of recorded market data, for --market replay."
)
@click.option(
    "--data-query",
    default="{}",
    metavar="JSON",
    help='Which of the data, as {"table": "panel", "prices": "hl", "end": DATE}.',
)
@click.option(
    "--mirror-url",
    metavar="URL",
    help="Venue whose public market --market mirror shows, only read from; Hyperliquid's testnet if not given.",
)
@click.option("--coins", default="", metavar="COIN,COIN", help="Only these coins.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of the market and the keys."
)
@click.option("--speed", type=click.FloatRange(0, 100_000, min_open=True), default=1.0, show_default=True)
@click.option(
    "--history-h",
    type=click.IntRange(min=1),
    default=720,
    show_default=True,
    help="Hours of candles and funding before the first moment.",
)
@click.option(
    "--agent-days",
    type=click.IntRange(1, 100_000),
    default=180,
    show_default=True,
    help="How long an agent may be approved for; more than the venue's where time runs fast.",
)
@click.option("--start", metavar="DATE", help="The devnet's first moment (UTC); now if not given.")
@click.option("--paused", is_flag=True, help="Let time stand until /devnet/clock says otherwise.")
@click.option("--chaos", type=click.Path(path_type=Path), help="JSON file of faults, as for /devnet/chaos.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep everything in this file, and go on from it; time stands in between.",
)
@click.option(
    "--parent-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="End when the pipe at this file descriptor does, as when the process dies that holds its other end.",
)
@click.option(
    "--mainnet-signatures", is_flag=True, help="Accept what is signed for mainnet, not for testnet."
)
@click.option("--rate-limits", is_flag=True, help="Answer 429 to who asks more than the venue allows.")
def devnet(
    port: int,
    cex_port: int | None,
    cex_usdt: int,
    host: str,
    market: str,
    data: Path | None,
    data_query: str,
    mirror_url: str | None,
    coins: str,
    seed: int,
    speed: float,
    history_h: int,
    agent_days: int,
    start: str | None,
    paused: bool,
    chaos: Path | None,
    state: Path | None,
    parent_fd: int | None,
    mainnet_signatures: bool,
    rate_limits: bool,
) -> None:
    """Run a simulated Hyperliquid on this computer: POST /info, POST /exchange, WebSocket /ws.

    When it listens it prints one line of JSON: its URL, and test keys that have money. POST /devnet/faucet gives any
    address more; /devnet/clock and /devnet/chaos set time and faults. Ctrl-C or SIGTERM ends it. Nothing is kept unless
    --state names a file: then it goes on exactly where it stopped, however it was stopped.
    """
    import asyncio
    import json
    from decimal import Decimal

    from bot.clock import parse_utc
    from bot.devnet.start import Options, build, ready_line, serve
    from bot.errors import ConfigError, Refused

    server = build(
        Options(
            seed=seed,
            coins=tuple(coin.strip() for coin in coins.split(",") if coin.strip()),
            market=market,
            data=data,
            data_query=_query(data_query),
            history_h=history_h,
            agent_days=agent_days,
            mirror_url=mirror_url,
            start_ms=parse_utc(start) if start else None,
            speed=speed,
            paused=paused,
            mainnet_signatures=mainnet_signatures,
            rate_limits=rate_limits,
            state=state,
            cex_port=cex_port,
            cex_usdt=Decimal(cex_usdt),
        )
    )
    if chaos is not None:
        try:
            server.faults.set(json.loads(chaos.read_text(encoding="utf-8")))
        except (OSError, ValueError, Refused) as error:
            raise ConfigError(f"{chaos} can't be used as faults: {error}") from None
    asyncio.run(serve(server, host, port, parent_fd, lambda: click.echo(json.dumps(ready_line(server)))))


def _query(text: str) -> dict[str, Any]:
    """Fields of a data query from their JSON."""
    import json

    from bot.clock import parse_utc
    from bot.errors import ConfigError

    try:
        told = json.loads(text)
        if not isinstance(told, dict) or not told.keys() <= {"table", "prices", "funding", "end"}:
            raise ValueError("it has table, prices, funding and end, as a config's [data] does")
    except ValueError as error:
        raise ConfigError(f"--data-query {text!r} can't be used: {error}") from None
    found: dict[str, Any] = {key: told[key] for key in ("table", "prices") if told.get(key) is not None}
    if told.get("funding") is not None:
        found["funding"] = tuple(told["funding"])
    if told.get("end") is not None:
        found["end_ms"] = parse_utc(told["end"])
    return found
