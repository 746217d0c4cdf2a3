"""What every test may ask for: recorded market data where it is there, a small disk, and how hard hypothesis tries."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from decimal import localcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile(
    "ci", deadline=None, max_examples=150, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _decimals() -> Iterator[None]:
    """ccxt, which some tests call as it is, changes how decimals are rounded for whoever comes after it."""
    with localcontext():
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded market data: HEDGEROW_REAL_DATA, else `shared/data` beside the repository."""
    named = os.environ.get("HEDGEROW_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "panel_1h.parquet").is_file():
        pytest.skip(f"no recorded market data in {folder}; set HEDGEROW_REAL_DATA to the folder that has it")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real file system with little room: 2 MB, or what `indirect` parametrization says."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("only root can make a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", "2m")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a small disk can't be made here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, str(folder)], check=True)
