"""The whole program for a central exchange: a key typed in, a policy, a socket, and the client."""

import json
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli.wallet import wallet
from bot.signer.cex_client import CexSigner, Denied, Holding, Locked
from tests.signer.cex_support import API_KEY, PASSPHRASE, SECRET, key, policy
from tests.signer.program import PASSWORD, Running


@pytest.mark.parametrize("venue", ["binance", "okx"])
def test_a_key_is_imported_and_signs_through_the_socket(tmp_path: Path, venue: str) -> None:
    parts = [API_KEY, SECRET, *([PASSPHRASE] if venue == "okx" else []), PASSWORD]
    arguments = ["import-cex", venue, "--network", "testnet", "--folder", str(tmp_path / "keys")]
    done = CliRunner().invoke(wallet, arguments, input="\n".join(parts) + "\n")
    assert done.exit_code == 0, done.output
    assert key(venue).address in done.output
    assert SECRET not in done.output
    (tmp_path / "policy.toml").write_text(policy(venue))
    running = Running(tmp_path)
    try:
        running.until("ready")
        with CexSigner(running.socket) as signer:
            assert signer.status()["venue"] == venue
            now_ms = time.time_ns() // 1_000_000
            symbol = next(iter(signer.status()["assets"]))
            signer.prices({symbol: "50000"}, now_ms)
            signer.positions({symbol: Holding("0")}, open_orders=0, through_nonce=0, at_ms=now_ms)
            path = "/fapi/v3/balance" if venue == "binance" else "/api/v5/account/balance"
            signed = signer.sign("GET", path, {})
            assert abs(signed.timestamp_ms - now_ms) < 60_000
            assert signed.network == "testnet"
            assert API_KEY in json.dumps(dict(signed.headers))
            assert API_KEY not in repr(signed)
            with pytest.raises(Denied):
                signer.sign("POST", "/nowhere", {})
            with pytest.raises(Denied):
                signer.sign("POST", "/sapi/v1/capital/withdraw/apply", {})
            with pytest.raises(Locked):
                signer.sign("GET", path, {})
    finally:
        assert running.end() == 0
    assert SECRET not in running.output
    assert re.search(rf"{venue}-testnet", running.output)
