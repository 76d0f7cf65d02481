"""A hostile row file in a browser: no script runs, nothing is asked of the network, the pages stay readable."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.report import hostile, rows
from xray_jax.report.html.build import build
from xray_jax.report.html.compare import Earlier

SHAPES = (
    rows.confirmed("3x3 solid white patch"),
    rows.error(),
    rows.row(verdict="unknown", basis="not calibrated", preprocess_choice={"doubt": "doubt"}),
)

INTACT = """() => {
  for (const element of document.querySelectorAll("*"))
    for (const type of ["mouseover", "focus", "click", "error", "load"])
      if (element.tagName !== "A" && element.tagName !== "BUTTON") element.dispatchEvent(new Event(type));
  const all = [...document.querySelectorAll("*")];
  return {
    hacked: window.hacked,
    handlers: all.flatMap(e => [...e.attributes]).filter(a => a.name.startsWith("on")).map(a => a.name),
    scripts: document.scripts.length,
    foreign: document.querySelectorAll("base, iframe, object, embed, meta[http-equiv=refresh], form").length,
    links: [...document.links].map(a => a.protocol).filter(p => p !== "file:"),
    wide: document.documentElement.scrollWidth - innerWidth,
  };
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = [
        hostile.row(whole, text, 10 * number + shape)
        for number, text in enumerate(hostile.TEXTS)
        for shape, whole in enumerate((SHAPES[0], SHAPES[1 + number % 2]))
    ]
    before = [row | {"verdict": None, "status": "error", "sha256": "x"} for row in made]
    return build(made, tmp_path_factory.mktemp("hostile"), [Path("rows</code>.jsonl")], None, Earlier(before, "<b>"))


def check(page: Page, scripts: int) -> None:
    found = page.evaluate(INTACT)
    assert found.pop("wide") <= 0
    assert found == {"hacked": None, "handlers": [], "scripts": scripts, "foreign": 0, "links": []}


def test_the_overview_is_inert_and_shows_texts_as_they_are(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    assert page.locator("#table tbody tr").count() == 2 * len(hostile.TEXTS)
    check(page, scripts=2)
    text = page.inner_text("#table")
    for payload in hostile.SCRIPTS[:3]:
        assert f"{payload} " in text
    assert "\u202e" not in page.content()
    for label in ("Search", "verdict"):
        assert page.get_by_label(label).first.is_visible()
    page.get_by_label("Search").fill("<script>")
    page.get_by_role("button", name="checkpoint").click()
    check(page, scripts=2)


def test_every_model_page_is_inert(page: Page, report: Path) -> None:
    files = sorted((report.parent / "models").iterdir())
    assert len(files) == 2 * len(hostile.TEXTS)
    for file in files:
        page.goto(file.as_uri())
        check(page, scripts=1)
        assert page.locator("h1").count() == 1


def test_settings_pages_are_inert(page: Page, report: Path) -> None:
    for file in (report.parent / "settings").iterdir():
        page.goto(file.as_uri())
        check(page, scripts=0)
