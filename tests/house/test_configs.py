"""The configs that ship are right, and the schema beside them is that of this version."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from bot import compose, settings

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = sorted((REPOSITORY / "config").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_loads_with_its_strategies(path: Path) -> None:
    loaded = settings.load(path, (), {})
    assert compose.mandate_of(loaded, path.parent).strategies
    assert path.read_text().startswith("#:schema ./schema.json\n")


def test_the_schema_beside_them_is_the_one_that_is_printed() -> None:
    assert json.loads((REPOSITORY / "config" / "schema.json").read_text()) == settings.schema()


def test_the_schema_knows_every_key_that_the_configs_use() -> None:
    schema = settings.schema()
    for path in CONFIGS:
        for section, table in tomllib.loads(path.read_text()).items():
            assert section in schema["properties"], f"{path.name}: {section}"
            if isinstance(table, dict):
                (name,) = re.findall(r"#/\$defs/(\w+)", json.dumps(schema["properties"][section]))
                tables = table.values() if section == "cex" else [table]  # one for each exchange
                for each in tables:
                    assert set(each) <= set(schema["$defs"][name]["properties"]), f"{path.name}: {section}"
