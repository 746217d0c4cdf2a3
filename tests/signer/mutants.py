"""Whether the fuzz bites: bugs are put into a copy of the signer, one at a time, and each has to be found.

    python -m tests.signer.mutants [--requests 100000]

Prints a line for each: after how many requests it was found, and as what. The exit code is 1 where one was not.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MUTANTS: dict[str, tuple[str, str, str]] = {
    "a sell's collar has the wrong sign": (
        "limits",
        "price_e8 - from_e8 if is_buy else from_e8 - price_e8",
        "price_e8 - from_e8",
    ),
    "rates allow one more": ("limits", "if more and before + more > limit:", "if more and before + more > limit + 1:"),
    "the band is not looked at": (
        "limits",
        "if not rules.band_low_e8 <= price_e8 <= rules.band_high_e8:",
        "if not rules.band_low_e8 <= price_e8:",
    ),
    "an order is valued at the better price": ("limits", "worst_e8 = max(order.price_e8", "worst_e8 = min(order.price_e8"),
    "orders of a batch do not add up": ("limits", "low_high[1] += order.size_e8", "low_high = [low_high[0], low_high[1] + order.size_e8]"),
    "a cloid may come twice": ("limits", "if fresh_cloids and (used_ms", "if False and (used_ms"),
    "dollars are rounded down": ("limits", "return -(-size_e8 * price_e8 // 10**10)", "return size_e8 * price_e8 // 10**10"),
    "only rises of the reference are bounded": ("limits", "if abs(price_e8 - before_e8) * BPS", "if (price_e8 - before_e8) * BPS"),
    "margin taken out costs nothing": ("limits", "self.margin.total(now_ms) + abs(usd)", "self.margin.total(now_ms) + usd"),
    "a report settles one nonce too many": ("limits", "return self.nonce <= told.through_nonce", "return self.nonce <= told.through_nonce + 1"),
    "windows forget a millisecond early": ("limits", "entries[0][0] <= oldest", "entries[0][0] <= oldest + 1"),
    "the turnover of a batch is its last order's": ("limits", "counts.turnover += self._check_opening", "counts.turnover = self._check_opening"),
    "what only reduces has no collar": ("limits", 'if order.trigger is None:\n            _collar("collar"', 'if order.trigger is None:\n            order.reduce_only or _collar("collar"'),
    "gross leaves out shorts": ("limits", "usd_micro(max(high, -low)", "usd_micro(max(high, 0)"),
    "a leading zero is a number": ("requests", '"(0|[1-9][0-9]{0,8})', '"([0-9]{1,9})'),
    "orders may live for ever": ("engine", "if not low <= request.expires_in_ms <= high:", "if not low <= request.expires_in_ms:"),
    "a restart forgets what was used": ("engine", "self.limits.count(Counts(**record[\"counts\"]), at_ms)", "Counts(**record[\"counts\"])"),
    "a restart forgets what is in flight": ("engine", 'self.limits.remember(int(record["nonce"]), orders, ', 'self.limits.remember(int(record["nonce"]), (), '),
    "a restart forgets the reference": ("limits", "self.references.get(coin) or self.recalled.get(coin)", "self.references.get(coin)"),
    "an order is forgotten at its expiry": ("limits", "told.at_ms > self.expires_ms + AFTER_EXPIRY_MS", "told.at_ms > self.expires_ms"),
    "an expired order counts for ever": ("limits", " or told.at_ms > self.expires_ms + AFTER_EXPIRY_MS", ""),
    "a report may settle what was not signed yet": ("limits", "if told.through_nonce > last_nonce:", "if told.through_nonce > last_nonce + 1:"),
    "fences are free": ("limits", "self.fences.add(now_ms, counts.fences)", "self.fences.add(now_ms, 0)"),
    "a nonce comes twice": ("nonces", "nonce = max(now_ms, self.last + 1)", "nonce = max(now_ms, self.last)"),
    "any nonce can be fenced": ("limits", "if given_ms is None or given_ms <= now_ms - NONCE_LIFE_MS:", "if given_ms is not None and given_ms <= now_ms - NONCE_LIFE_MS:"),
    "cross margin is always allowed": ("engine", "if request.is_cross and not policy.cross:", "if request.is_cross and not policy.coins:"),
    "a buy is signed as a sell": ("actions", '"b": order.is_buy', '"b": not order.is_buy'),
    "a fast cancel is signed as a slow one": ("actions", 'return {**action, "f": True} if request.fast else action', "return action"),
}  # fmt: skip
"""What is wrong → the file of bot/signer, the text in it, and the text instead."""


def found(name: str, requests: int, seed: int = 1) -> dict[str, int]:
    """What the fuzz finds in a signer with this bug. RuntimeError where the text to change is not there once."""
    module, old, new = MUTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "bot", home / "bot", ignore=ignore)
        shutil.copytree(ROOT / "tests" / "signer", home / "tests" / "signer", ignore=ignore)
        target = home / "bot" / "signer" / f"{module}.py"
        source = target.read_text()
        if source.count(old) != 1:
            raise RuntimeError(f"{name}: {module}.py has its text {source.count(old)} times")
        target.write_text(source.replace(old, new))
        command = [
            sys.executable,
            "-m",
            "tests.signer.fuzz",
            "--requests",
            str(requests),
            "--seed",
            str(seed),
        ]
        environment = {**os.environ, "PYTHONPATH": str(home)}
        done = subprocess.run(
            [*command, "--stop-at-first"], cwd=home, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        if not done.stdout:
            raise RuntimeError(f"{name}: the fuzz fell over: {done.stderr[-400:]}")
        result: dict[str, int] = json.loads(done.stdout)
        return result


def main() -> None:
    """All of them, as a command."""
    options = argparse.ArgumentParser(
        description="Put bugs into the signer and see whether the fuzz finds them."
    )
    options.add_argument("--requests", type=int, default=100_000)
    chosen = options.parse_args()
    missed = 0
    for name in MUTANTS:
        result = found(name, chosen.requests)
        what = [kind for kind in ("escapes", "false_denials", "faults") if result[kind]]
        missed += not what
        told = f"{', '.join(what)} after {result['requests']} requests" if what else "NOT FOUND"
        sys.stdout.write(f"{name}: {told}\n")
        sys.stdout.flush()
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
