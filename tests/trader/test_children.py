"""What a child says is kept where there is room, and where there is none nothing else suffers."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.paper.children import _drain, _until

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device here that is always full")
def test_a_full_disk_under_a_childs_log_is_no_error_of_the_daemons() -> None:
    async def heard() -> str:
        said = asyncio.StreamReader()
        said.feed_data(b"first\nready: now\nlater\n")
        said.feed_eof()
        process = cast(Any, SimpleNamespace(stdout=said))
        ready = await _until(process, lambda line: line.startswith("ready:"), FULL)
        await _drain(process, FULL)
        return ready

    assert asyncio.run(heard()) == "ready: now"
