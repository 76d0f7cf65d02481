"""A browser for pages, that notices whatever a page must not do; and a report to look at."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import browser as browsers
from tests.report import rows
from xray_jax.report.html.build import build
from xray_jax.report.html.pictures import PictureSource

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = browsers.find()
    if program is None:
        pytest.skip(browsers.MISSING)
    # Chromium refuses to run as root inside of its sandbox, and there is none in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=arguments)
        yield opened
        opened.close()


class Watch:
    """What pages did that they must not do."""

    def __init__(self, context: BrowserContext) -> None:
        self.wrong: list[str] = []
        context.on("request", self._request)
        context.on("console", lambda message: self._note(message.type in ("error", "warning"), message.text))
        context.on("weberror", lambda error: self._note(True, str(error.error)))
        context.on("dialog", lambda dialog: self._note(True, f"dialog {dialog.message}"))

    def _request(self, request: Any) -> None:
        self._note(not request.url.startswith("file:///"), f"request of {request.url}")

    def _note(self, is_wrong: bool, what: str) -> None:
        if is_wrong:
            self.wrong.append(what)


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A context whose pages neither ask the network for anything nor say an error."""
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    watch = Watch(context)
    try:
        yield context
        assert not watch.wrong
    finally:
        context.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with watched(browser, viewport={"width": 1200, "height": 900}) as made:
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def scan_rows() -> list[Any]:
    """A small batch scan with one of everything."""
    probe = {"statistics": [{"name": "margin", "value": 0.43, "suspect": "high"}], "queries": 51_764}
    bad = rows.confirmed("3x3 solid white patch", id="zoo/bad one.pth", goal=3, clean_accuracy=0.765)
    bad["detectors"]["probe"] |= probe
    bad["detectors"]["probe"]["best"] |= {"interval": [0.95, 0.998], "runner_up": 0.07, "cost": {"touched": 0.009}}
    settings = {
        "samples": "0" * 16,
        "references": {"digest": "0" * 16, "fpr": 0.1},
        "calibration": {"source": "own", "re_threshold": 0.9, "ats_threshold": 0.2},
    }
    own = {"margin.margins": [round(0.1 * k - 2, 2) for k in range(40)]}
    against = rows.comparison(reference_standout=own, threshold=1.75)
    fused = rows.row(
        id="zoo/odd.pth", verdict="suspect", basis="stands out among the references", comparison=against,
        architecture="vgg16", manifest={"dataset": "gtsrb"}, settings=settings, clean_accuracy=0.99,
    )  # fmt: skip
    fused["detectors"]["margins"] = {
        "statistics": [{"name": "largest", "value": 3.5, "suspect": "high", "p_value": 0.024}],
        "target": 2, "queries": 10, "seconds": {"all": 0.5}, "paired": {"margins": [0.1, 0.2, 3.5, 0.1]},
    }  # fmt: skip
    return [
        bad,
        fused,
        *(rows.row(id=f"zoo/fine-{k}.pth", clean_accuracy=0.8 + k / 100) for k in range(5)),
        rows.row(id="zoo/open.pth", verdict="unknown", basis="not calibrated", notes=["assumed: strides (2, 2, 1)"]),
        rows.error("/data/zoo/cut.pth: truncated", id="zoo/cut.pth", path="/data/zoo/cut.pth"),
        rows.error("/data/zoo/cut-2.pth: truncated", id="zoo/cut-2.pth", path="/data/zoo/cut-2.pth"),
        rows.error("not a checkpoint", id="zoo/README", status="skipped"),
    ]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overview's file of `scan_rows`, with a picture of the trigger."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "pictures").mkdir()
    Image.new("RGB", (300, 200), "red").save(folder / "pictures" / "zoo%2Fbad one.pth.trigger.png")
    source = PictureSource(plots=folder / "pictures")
    return build(scan_rows(), folder / "report", [Path("rows.jsonl")], source)
