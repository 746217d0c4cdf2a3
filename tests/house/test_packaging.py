import importlib
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from bot.settings import load

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PLUGINS: dict[str, str] = PROJECT["entry-points"]["hedgerow.strategies"]
CONFIGS = sorted((REPOSITORY / "config").glob("*.toml"))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_strategy_that_is_announced_is_there(plugin: str) -> None:
    module, _, attribute = PLUGINS[plugin].partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), type)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_that_comes_along_is_right_and_uses_announced_strategies(path: Path) -> None:
    settings = load(path, environ={})
    assert [each.plugin for each in settings.strategies if each.plugin not in PLUGINS] == []


@pytest.mark.parametrize("verb", ["setup", "run", "check", "test", "bench", "help"])
def test_make_has_the_verb_and_tells_it(verb: str) -> None:
    told = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert f"make {verb} " in told.stdout


def test_make_refuses_an_interpreter_that_is_too_old_or_absent_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18\nexit 1\n')
    old.chmod(0o755)
    for interpreter, found in ((str(old), "is Python 3.9.18"), ("python-absent", "is not there")):
        done = subprocess.run(
            ["make", "setup", f"PYTHON={interpreter}", f"VENV={tmp_path / 'venv'}"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        sentence = done.stderr.splitlines()[0]
        assert done.returncode != 0
        assert sentence.startswith("hedgerow needs Python 3.11 or newer")
        assert found in sentence
        assert not (tmp_path / "venv").exists()


def test_the_ci_entry_can_be_run() -> None:
    entry = REPOSITORY / ".ci" / "run"
    assert os.access(entry, os.X_OK)
    subprocess.run(["bash", "-n", str(entry)], check=True, timeout=60)
