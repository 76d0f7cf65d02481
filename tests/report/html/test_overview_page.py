"""The overview in a browser: sorting, filters, search, keyboard, print, accessibility, ten thousand rows."""

import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.report import rows
from tests.report.html.conftest import watched
from xray_jax.report.html import pages
from xray_jax.report.html.overview import Overview

SERIOUS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def names(page: Page) -> list[str]:
    return page.locator("#table tbody tr td:first-child").all_inner_texts()


@pytest.fixture
def overview(page: Page, report: Path) -> Page:
    page.goto(report.as_uri())
    return page


def test_the_worst_comes_first_and_nothing_is_hidden(overview: Page) -> None:
    assert overview.title().startswith("Scan report: 2 of 11 checkpoints flagged; 2 could not be scanned;")
    assert names(overview)[:3] == ["zoo/bad one.pth", "zoo/odd.pth", "zoo/open.pth"]
    assert len(names(overview)) == 11
    text = overview.inner_text("main")
    assert text.index("zoo/bad one.pth") < text.index("2 checkpoints: FILE: truncated.") < text.index("All checkpoints")
    assert "40 (clean models of our own)" in overview.inner_text("dl:last-of-type")
    assert overview.locator("svg a").count() >= 11


def test_columns_sort_both_ways_with_what_has_no_value_last(overview: Page) -> None:
    header = overview.get_by_role("button", name="clean accuracy")
    header.click()
    column = overview.locator("#table thead th", has_text="clean accuracy")
    expect(column).to_have_attribute("aria-sort", "ascending")
    assert names(overview)[0] == "zoo/bad one.pth"
    assert set(names(overview)[-3:]) == {"zoo/README", "zoo/cut-2.pth", "zoo/cut.pth"}
    header.focus()
    overview.keyboard.press("Enter")
    expect(column).to_have_attribute("aria-sort", "descending")
    assert names(overview)[0] == "zoo/odd.pth"
    assert set(names(overview)[-3:]) == {"zoo/README", "zoo/cut-2.pth", "zoo/cut.pth"}
    overview.get_by_role("button", name="verdict").click()
    assert names(overview)[0] == "zoo/bad one.pth"


def test_filters_and_search_work_together(overview: Page) -> None:
    count = overview.locator("#count")
    expect(count).to_have_text("11 of 11 checkpoints")
    overview.locator("label", has_text="verdict").locator("select").select_option("clean")
    expect(count).to_have_text("5 of 11 checkpoints")
    overview.get_by_label("Search").fill("FINE-3")
    expect(count).to_have_text("1 of 11 checkpoints")
    assert names(overview) == ["zoo/fine-3.pth"]
    overview.get_by_label("Search").fill("")
    overview.locator("label", has_text="verdict").locator("select").select_option("")
    overview.get_by_label("architecture").select_option("vgg16")
    assert names(overview) == ["zoo/odd.pth"]
    overview.get_by_label("architecture").select_option("")
    overview.get_by_label("reason").select_option("FILE: truncated.")
    assert sorted(names(overview)) == ["zoo/cut-2.pth", "zoo/cut.pth"]
    overview.get_by_label("Search").fill("no such thing")
    expect(count).to_have_text("0 of 11 checkpoints")


def test_a_model_opens_from_the_table_by_keyboard(overview: Page) -> None:
    overview.get_by_role("link", name="zoo/odd.pth").last.focus()
    overview.keyboard.press("Enter")
    expect(overview.get_by_role("heading", level=1)).to_have_text("zoo/odd.pth")
    overview.get_by_role("link", name="All checkpoints").click()
    expect(overview.locator("#count")).to_have_text("11 of 11 checkpoints")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anyone_can_read_it(overview: Page, scheme: str) -> None:
    overview.emulate_media(color_scheme=scheme)
    found = Axe().run(overview, options=SERIOUS)
    assert found.violations_count == 0, found.generate_report()


def test_print_leaves_out_what_only_screens_need(overview: Page) -> None:
    overview.emulate_media(media="print")
    expect(overview.locator("#search")).to_be_hidden()
    expect(overview.locator("#table")).to_be_visible()
    assert overview.pdf().startswith(b"%PDF")


def test_without_scripts_the_findings_are_there(browser: Browser, report: Path) -> None:
    with watched(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(report.as_uri())
        text = page.inner_text("main")
        assert "The table needs JavaScript" in text
        assert "zoo/bad one.pth" in text
        assert "2 checkpoints: FILE: truncated." in text


def test_ten_thousand_rows_open_quickly_and_stay_usable(page: Page, tmp_path: Path) -> None:
    gathered = Overview()
    for number in range(10_000):
        made = rows.error(f"reason {number % 7}") if number % 20 == 0 else rows.row()
        if number % 25 == 1:
            made = rows.confirmed("3x3 solid white patch")
        for block in made["detectors"].values():
            for statistic in block.get("statistics", []):
                statistic["value"] += (number * 7919 % 1000) / 2000
        made["id"] = f"hub/organisation-{number % 50}/model-{number}"
        gathered.add(made, f"models/{number}.html")
    gathered.sort()
    index = tmp_path / "index.html"
    pages.write(index, "overview.html", overview=gathered, table=gathered.table(), settings=[])
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        page.goto(index.as_uri())
        page.locator("#table tbody tr").first.wait_for()
        taken.append(time.perf_counter() - started)
    assert min(taken) < 2, taken
    assert len(names(page)) == 100
    started = time.perf_counter()
    page.get_by_label("Search").fill("organisation-7/ model-9")
    expect(page.locator("#count")).to_have_text("22 of 10000 checkpoints")
    page.get_by_role("button", name="planes re").click()
    assert time.perf_counter() - started < 2
    page.get_by_label("Search").fill("")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#page")).to_have_text("Page 2 of 100")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#table tbody tr").count() == 2000
