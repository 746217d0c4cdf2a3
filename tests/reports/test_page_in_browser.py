"""The page in a real browser: everything is drawn, nothing is complained about, nothing is asked of the network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bot.reports.write import write
from tests.reports.books import curve_record, lively_record

pytestmark = pytest.mark.browser

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000",
)  # fmt: skip


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on the PATH; install the package chromium to run the browser tests")
    return found


def opened(chromium: str, page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """The page's document once its scripts are done, and what the console said."""
    done = subprocess.run(
        [chromium, *QUIET, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    # The libraries' own text is in the document too; what the page became is outside its scripts.
    return re.sub(r"<script\b.*?</script>", "", done.stdout, flags=re.DOTALL), said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_is_drawn_and_the_console_is_silent(chromium: str, tmp_path: Path, scheme: str) -> None:
    write(lively_record(days=40), tmp_path / "report")
    flags = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    page, said = opened(chromium, tmp_path / "report" / "report.html", tmp_path / "profile", *flags)
    assert said == []
    assert re.search(r'<html[^>]* data-plots="drawn"', page)
    for name in ("equity", "profit", "funding", "exposure", "liquidation"):
        assert re.search(
            rf'id="plot-{name}"[^>]*class="[^"]*js-plotly-plot|class="[^"]*js-plotly-plot[^"]*"[^>]*id="plot-{name}"',
            page,
        )
    titles = set(re.findall(r'data-title="([^"]*)"', page))
    assert titles
    assert not any(
        "hare" in title or "loud" in title for title in titles
    )  # no button that sends the chart away


def test_an_empty_run_is_a_page_too(chromium: str, tmp_path: Path) -> None:
    write(curve_record([]), tmp_path / "report")
    page, said = opened(chromium, tmp_path / "report" / "report.html", tmp_path / "profile")
    assert said == []
    assert "no rows" in page
    assert re.search(r'<html[^>]* data-plots="drawn"', page)


def test_a_click_on_a_columns_head_sorts_by_it(chromium: str, tmp_path: Path) -> None:
    """The page's policy lets no foreign script in, so this copy is opened without one and clicks on itself."""
    write(lively_record(days=40), tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    click = """<script>
      const head = [...document.querySelectorAll("#trips th[data-sort]")].find((th) => th.textContent.startsWith("Net"));
      head.firstElementChild.click();
      const net = () => [...document.querySelectorAll("#trips tbody tr")].map((row) => Number(row.cells[head.cellIndex].dataset.value));
      const falling = net().every((value, at, all) => !at || all[at - 1] >= value);
      head.firstElementChild.click();
      const rising = net().every((value, at, all) => !at || all[at - 1] <= value);
      document.body.dataset.sorted = `${falling} ${rising} ${net().length > 10}`;
    </script></body>"""
    clicked = tmp_path / "clicked.html"
    clicked.write_text(text.replace("</body>", click), encoding="utf-8")
    page, said = opened(chromium, clicked, tmp_path / "profile")
    assert said == []
    assert 'data-sorted="true true true"' in page


def test_the_policy_stops_a_script_that_was_smuggled_in(chromium: str, tmp_path: Path) -> None:
    write(curve_record([100.0, 101.0]), tmp_path / "report")
    page_file = tmp_path / "report" / "report.html"
    text = page_file.read_text(encoding="utf-8")
    page_file.write_text(
        text.replace("</body>", "<script>document.body.dataset.owned = 1</script></body>"), encoding="utf-8"
    )
    page, said = opened(chromium, page_file, tmp_path / "profile")
    assert "data-owned" not in page
    assert any("Content Security Policy" in line for line in said)
