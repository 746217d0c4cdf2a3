"""Where a value that was read stands in the bytes that it was read from, row by row: the oracle's own tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

Json = Any
Names = Mapping[str, tuple[str, ...]]


def names(**keys: str) -> Names:
    """Attribute → where it stands in a row, points between."""
    return {name: tuple(path.split(".")) for name, path in keys.items()}


FILL: Final = names(
    trade_id="tid", time_ms="time", coin="coin", price="px", size="sz", before="startPosition",
    closed_pnl_usd="closedPnl", fee="fee", order_id="oid", fee_token="feeToken", direction="dir",
)  # fmt: skip
PAID: Final = names(
    time_ms="time", coin="delta.coin", usd="delta.usdc", size="delta.szi", rate="delta.fundingRate"
)
HEARD_PAID: Final = names(time_ms="time", coin="coin", usd="usdc", size="szi", rate="fundingRate")
CANDLE: Final = names(coin="s", open_ms="t", close_ms="T", open="o", high="h", low="l", close="c", volume="v")
SETTLED: Final = names(coin="coin", time_ms="time", rate="fundingRate", premium="premium")
TRADE: Final = names(coin="coin", time_ms="time", price="px", size="sz", trade_id="tid")
LEVEL: Final = names(price="px", size="sz")
CONTEXT: Final = names(
    funding="funding", open_interest="openInterest", oracle="oraclePx", mark="markPx", mid="midPx", premium="premium"
)  # fmt: skip
POSITION: Final = names(
    coin="position.coin", size="position.szi", entry_price="position.entryPx", value_usd="position.positionValue",
    unrealised_usd="position.unrealizedPnl", margin_usd="position.marginUsed", leverage="position.leverage.value",
)  # fmt: skip
ORDER: Final = names(coin="coin", limit_price="limitPx", remaining="sz", order_id="oid", time_ms="timestamp")
BALANCE: Final = names(token="coin", total="total", hold="hold")
LISTED: Final = names(name="name", size_decimals="szDecimals")
LEDGER: Final = names(time_ms="time", kind="delta.type")


class Wrong(Exception):
    """What can't be right."""


def _equal(read: Any, told: Json) -> bool:
    if read is None or told is None:
        return read is told
    if isinstance(read, Decimal):
        return isinstance(told, str) and Decimal(told) == read
    if isinstance(read, int):
        return type(told) is int and told == read
    return bool(read == told)


def stands(read: Any, row: Json, where: Names) -> None:
    for name, path in where.items():
        told = row
        for key in path:
            told = told.get(key) if key in {"premium", "midPx"} else told[key]
        if not _equal(getattr(read, name), told):
            raise Wrong(f"{name} is {getattr(read, name)!r} where it says {told!r}")


def all_stand(read: Sequence[Any], rows: Sequence[Json], where: Names) -> None:
    """One for one, in either order of time where the rows have one."""
    if len(read) != len(rows):
        raise Wrong(f"{len(read)} rows of {len(rows)}")
    if "time_ms" in where and len({each.time_ms for each in read}) == len(read):
        rows = sorted(rows, key=lambda row: int(row["time"]))
    elif "time_ms" in where:
        return some_order(read, rows, where)
    for each, row in zip(read, rows, strict=True):
        stands(each, row, where)
    return None


def some_order(read: Sequence[Any], rows: Sequence[Json], where: Names) -> None:
    left = list(rows)
    for each in read:
        for row in left:
            try:
                stands(each, row, where)
            except Wrong:
                continue
            left.remove(row)
            break
        else:
            raise Wrong(f"{each!r:.200} stands nowhere")


def rising(times: Iterator[int], *, strictly: bool) -> None:
    for before, after in pairwise(times):
        if after < before or (strictly and after == before):
            raise Wrong(f"time goes back from {before} to {after}")


def unique(keys: Iterator[Any]) -> None:
    listed = list(keys)
    if len(set(listed)) != len(listed):
        raise Wrong("something stands twice")
