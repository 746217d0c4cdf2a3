"""The habits that no linter knows: what core code may call and import, how long a file may be."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for folder in ("bot", "strategies") for path in (REPOSITORY / folder).rglob("*.py"))
PURE = ("bot/model/", "bot/signals/", "bot/pipeline/", "bot/sim/", "strategies/")
LONGEST = 400
UNFINISHED = tuple(a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X:")))

CLOCKS = (
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
)
CHANCE = ("random.", "secrets.", "os.urandom", "uuid.uuid1", "uuid.uuid4")
SEEDED = (
    "numpy.random.default_rng",
    "numpy.random.SeedSequence",
    "numpy.random.PCG64",
    "numpy.random.Philox",
)
NOT_A_SOURCE_OF_CHANCE = ("numpy.random.Generator",)

# What a package may import besides the standard library and itself.
MAY_IMPORT = {
    "bot/model/": ("numpy", "bot.errors"),
    "bot/signals/": ("numpy", "bottleneck", "bot.model", "bot.errors"),
    "bot/pipeline/": ("numpy", "bot.model", "bot.signals", "bot.errors"),
    "bot/sim/": ("numpy", "bot.model", "bot.errors"),
    "bot/journal/": ("numpy", "bot.model", "bot.errors", "bot.clock"),
    "strategies/": ("numpy", "bot.strategy"),
}


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def impurities(source: str) -> Iterator[str]:
    """`line: what` for everything that makes the same call give another answer another time."""
    tree = ast.parse(source)
    known = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{node.lineno}: async"
        elif isinstance(node, ast.Call):
            called = dotted(node.func, known)
            if (
                called.startswith("time.")
                or called in CLOCKS
                or (called == "random.Random" and not is_seeded(node))
                or (called != "random.Random" and called.startswith(CHANCE))
                or (called in SEEDED and not is_seeded(node))
                or (called.startswith("numpy.random.") and called not in SEEDED + NOT_A_SOURCE_OF_CHANCE)
            ):
                yield f"{node.lineno}: {called}()"


def is_seeded(call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return bool(given) and not (isinstance(given[0], ast.Constant) and given[0].value is None)


def aliases(tree: ast.Module) -> dict[str, str]:
    """Local name → what it was imported as: `np` → `numpy`, `now` → `datetime.datetime.now`."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                bound = item.asname or item.name.partition(".")[0]
                known[bound] = item.name if item.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return known


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, known)
        return f"{before}.{node.attr}" if before else ""
    return known.get(node.id, "") if isinstance(node, ast.Name) else ""


def imports(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", "time.time()"),
        ("from time import monotonic as m\nm()", "time.monotonic()"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now()"),
        ("import random\nrandom.choice([1])", "random.choice()"),
        ("import random\nrandom.Random()", "random.Random()"),
        ("import numpy as np\nnp.random.normal()", "numpy.random.normal()"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng()"),
        ("from numpy.random import default_rng\ndefault_rng(None)", "numpy.random.default_rng()"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4()"),
        ("async def f(): ...", "async"),
    ],
)
def test_the_search_for_clocks_and_chance_finds_them(source: str, found: str) -> None:
    assert [each.partition(": ")[2] for each in impurities(source)] == [found]


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.random.default_rng(7)",
        "import numpy as np\nnp.random.Generator(np.random.Philox(key=3))",
        "from datetime import datetime\ndatetime.fromisoformat('2024-05-01')",
        "import random\nrandom.Random(7)",
        "def f(time): return time.time()",
    ],
)
def test_the_search_for_clocks_and_chance_lets_seeded_and_given_ones_pass(source: str) -> None:
    assert list(impurities(source)) == []


def test_core_code_and_strategies_neither_look_at_a_clock_nor_throw_dice_nor_wait() -> None:
    pure = [path for path in SOURCES if name(path).startswith(PURE)]
    assert pure
    assert [f"{name(path)}:{what}" for path in pure for what in impurities(path.read_text())] == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_core_package_imports_only_what_it_may(package: str) -> None:
    allowed = (*MAY_IMPORT[package], package.rstrip("/").replace("/", "."))
    strays = [
        f"{name(path)}:{line}: {module}"
        for path in SOURCES
        if name(path).startswith(package)
        for line, module in imports(path.read_text())
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not any(module == each or module.startswith(f"{each}.") for each in allowed)
    ]
    assert strays == []


def test_no_file_is_so_long_that_it_has_two_subjects() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_nothing_is_left_for_later() -> None:
    everywhere = [*SOURCES, *(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "docs").rglob("*.md")]
    left = [name(path) for path in everywhere if any(word in path.read_text() for word in UNFINISHED)]
    assert left == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
