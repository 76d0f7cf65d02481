"""A model's page in a browser: words before numbers, the trigger first, commands to copy, pictures, accessibility."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.report.html.conftest import scan_rows
from tests.report.html.test_overview_page import SERIOUS
from xray_jax.report.html.build import build
from xray_jax.report.html.compare import Earlier
from xray_jax.report.html.pages import page_name

JARGON = re.compile(r"entropy|renyi|\bRE\b|\bATS\b|\bbits\b|statistic|\bN\b|None|null|\bnan\b", re.IGNORECASE)


def opened(page: Page, report: Path, checkpoint_id: str) -> Page:
    page.goto((report.parent / "models" / f"{page_name(checkpoint_id)}.html").as_uri())
    return page


@pytest.mark.parametrize(
    ("checkpoint_id", "said"),
    [
        ("zoo/bad one.pth", "Do not deploy this model. The trigger below works"),
        ("zoo/odd.pth", "Hold this model back until somebody has looked at it."),
        ("zoo/fine-0.pth", "Nothing that was tried speaks against deploying this model. That is no proof"),
        ("zoo/open.pth", "Do not read this as clean"),
        ("zoo/cut.pth", "Nothing is known of this model"),
        ("zoo/README", "This file is no checkpoint"),
    ],
)
def test_whether_to_deploy_is_said_first_in_plain_words(
    page: Page, report: Path, checkpoint_id: str, said: str
) -> None:
    opened(page, report, checkpoint_id)
    expect(page.get_by_role("heading", level=1)).to_have_text(checkpoint_id)
    first = page.inner_text(".verdict")
    assert said in first
    assert not JARGON.search(first), first
    assert page.inner_text("main").index(first) < 40 + len(checkpoint_id)


def test_a_confirmed_trigger_comes_before_the_numbers(page: Page, report: Path) -> None:
    text = opened(page, report, "zoo/bad one.pth").inner_text("main")
    order = [
        "Backdoored: a 3x3",
        "The trigger",
        "150 of 152 images",
        "95.0% to 99.8%",
        "What was looked at",
        "Repeat it",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    picture = page.locator("img").first
    picture.scroll_into_view_if_needed()
    assert picture.get_attribute("loading") == "lazy"
    assert (picture.get_attribute("src") or "").endswith(".webp")
    page.wait_for_function("document.images[0].complete && document.images[0].naturalWidth > 0")


def test_fields_of_other_detectors_and_of_reference_models_are_shown(page: Page, report: Path) -> None:
    text = opened(page, report, "zoo/odd.pth").inner_text("main")
    assert "A clean model like the 40 clean reference models stands out as much in 0.024 of all cases" in text
    assert "What stands out most is margin.margins, at label 4: 5.2 standard deviations" in text
    assert "no smaller p-value than 0.024 can be had" in text
    assert "By the limit about 0.1 of clean models like these are flagged by mistake" in text
    assert text.index("Among clean reference models") < text.index("+5.25") < text.index("+0.30")
    drawn = page.get_by_label(
        re.compile(r"margin.margins: this model \+5.25 .* from -2.00 to 1.90; suspect beyond 1.75")
    )
    assert drawn.locator("path.reference").get_attribute("d").count("M") == 40  # type: ignore[union-attr]
    # Its row has no numbers of the references by the other statistic.
    assert page.locator("svg path.reference").count() == 1
    assert "margins (4)" in text
    assert "--references=REFERENCES.npz --fpr=0.1 " in text
    assert "largest: 3.5" in text
    assert page.locator("meter").count() >= 4


def test_a_command_is_copied_whole(context: BrowserContext, page: Page, report: Path) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, report, "zoo/bad one.pth")
    buttons = page.get_by_role("button", name="Copy the command")
    assert buttons.count() == 2
    for number, command in enumerate(("xray-scan --checkpoints=/data/zoo/model.pth", "xray-confirm --row=rows.jsonl")):
        buttons.nth(number).click()
        expect(page.get_by_role("status").nth(number)).to_have_text("Copied.")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator("pre.command").nth(number).inner_text()
        assert copied.startswith(command)
    assert "--id='zoo/bad one.pth'" in copied


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anyone_can_read_it(page: Page, report: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for checkpoint_id in ("zoo/bad one.pth", "zoo/odd.pth", "zoo/cut.pth"):
        found = Axe().run(opened(page, report, checkpoint_id), options=SERIOUS)
        assert found.violations_count == 0, found.generate_report()


def test_settings_have_a_page_and_it_prints(page: Page, report: Path) -> None:
    opened(page, report, "zoo/odd.pth").get_by_role("link", name="All settings of this scan").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings of a scan")
    page.go_back()
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Copy the command").first).to_be_hidden()
    assert page.pdf().startswith(b"%PDF")


def test_two_runs_compared(page: Page, tmp_path: Path) -> None:
    before = scan_rows()
    before[0] |= {"verdict": "clean", "basis": "clean so far", "sha256": "1" * 64}
    before[2] |= {"settings": {"seed": 1}, "settings_hash": "1" * 16, "verdict": "suspect", "basis": "planes"}
    before[3]["id"] = "zoo/gone.pth"
    index = build(scan_rows(), tmp_path, (), None, Earlier(before, "old.jsonl"))
    page.goto(index.as_uri())
    text = page.inner_text("main")
    assert "Compared with old.jsonl" in text
    assert "2 with another verdict, 8 with the same, 1 new, 1 no longer there." in text
    table = page.get_by_role("region", name="Models with another verdict")
    assert table.locator("tbody tr").all_inner_texts() == [
        "zoo/bad one.pth\t● clean\t▲ backdoored\tthe checkpoint's content is another",
        "zoo/fine-0.pth\t◆ suspect\t● clean\tother settings: seed",
    ]
    opened(page, index, "zoo/bad one.pth")
    assert "The earlier run said clean: Clean as far as was looked" in page.inner_text("main")
