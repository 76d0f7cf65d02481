"""Reports as files: every link leads somewhere, pictures are small, bad ones are left out, errors say what to do."""

import builtins
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from tests.report import rows
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.report.extra import ExtraError
from xray_jax.report.html import pages
from xray_jax.report.html.build import build
from xray_jax.report.html.pictures import PictureSource
from xray_jax.report.row_source import RowSource
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError


def test_every_link_leads_to_a_file(tmp_path: Path) -> None:
    some = [rows.confirmed("3x3 solid white patch", id="a/b.pth"), rows.row(id="é.pth"), rows.error(id="c")]
    index = build(some, tmp_path)
    files = [index, *(tmp_path / "models").iterdir(), *(tmp_path / "settings").iterdir()]
    assert len(files) == 1 + 3 + 1
    links = [(file, href) for file in files for href in re.findall(r'(?:href|src)="([^"]+)"', file.read_text())]
    assert len(links) > 6
    for file, href in links:
        assert href == "#main" or (file.parent / unquote(href)).is_file(), f"{file.name}: {href}"
    for file in files:
        assert "default-src &#39;none&#39;" in file.read_text()


def test_a_command_names_the_file_of_its_row(tmp_path: Path) -> None:
    for number, name in enumerate("ba"):
        row_file.write_all(tmp_path / f"f-{number}.jsonl", [rows.confirmed("3x3 solid white patch", id=name)])
    source = RowSource([tmp_path / "f-0.jsonl", tmp_path / "f-1.jsonl"])
    index = build(source, tmp_path / "report")
    for number, name in enumerate("ba"):
        page = (index.parent / "models" / f"{pages.page_name(name)}.html").read_text()
        assert f"xray-confirm --row={tmp_path}/f-{number}.jsonl --id={name} " in page


@pytest.mark.parametrize("sharpness", [0.967, None, "high"])
def test_the_page_says_how_sharp_a_trigger_is_where_the_row_does(tmp_path: Path, sharpness: Any) -> None:
    row = rows.confirmed("3x3 solid white patch", id="a")
    row["detectors"]["probe"]["tuning"] = {"images": 14, "rate": 1.0, "curves": {}, "sharpness": sharpness}
    build([row], tmp_path)
    (page,) = (tmp_path / "models").iterdir()
    assert ("its smallest change takes away 97% of the effect" in page.read_text()) == (sharpness == 0.967)


def test_no_rows_make_a_report_too(tmp_path: Path) -> None:
    assert "Nothing flagged among 0 checkpoints." in build([], tmp_path).read_text()


def test_names_of_pages_are_safe_and_their_own() -> None:
    ids = ["a/b", "a b", "A/B", "../../x", "", "x" * 5000, "\ud800", "\udcff", "con", "日本"]
    names = {pages.page_name(name) for name in ids}
    assert len(names) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]{12,60}", name) for name in names)


def maps(nodes: int = 20) -> LabelMaps:
    labels = np.arange(3 * nodes * nodes).reshape(3, nodes, nodes) % 7
    triplets, places = np.zeros((3, 3), int), np.full((3, 3, 2), 5)
    axes = np.tile(np.linspace(0, 1, nodes), (3, 1))
    return LabelMaps(labels, triplets, places, triplets, axes, axes)


def test_pictures_are_small_and_label_maps_are_drawn_where_no_picture_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 3000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a%2Fb.trigger.png")
    maps().save(tmp_path / "a%2Fb.npz")
    index = build([rows.row(id="a/b")], tmp_path / "out", (), PictureSource(tmp_path, tmp_path))
    found = {file.name.split(".")[1]: file for file in (index.parent / "pictures").iterdir()}
    assert set(found) == {"trigger", "planes"}
    for file in found.values():
        with Image.open(file) as picture:
            assert picture.format == "WEBP"
            assert picture.width <= 1400
    text = next((index.parent / "models").iterdir()).read_text()
    assert f'src="../pictures/{found["planes"].name}"' in text


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"PK\x03\x04" + b"\0" * 50])
def test_what_is_no_picture_is_left_out(tmp_path: Path, content: bytes) -> None:
    for name in ("a.trigger.png", "a.npz"):
        (tmp_path / name).write_bytes(content)
    index = build([rows.row(id="a"), rows.row(id="\ud800")], tmp_path / "out", (), PictureSource(tmp_path, tmp_path))
    assert not list((index.parent / "pictures").iterdir())


def test_maps_that_would_execute_or_explode_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([{"a": 1}], dtype=object))
    np.savez_compressed(tmp_path / "b.npz", labels=np.zeros(300_000_000, np.uint8))
    index = build([rows.row(id="a"), rows.row(id="b")], tmp_path / "out", (), PictureSource(None, tmp_path))
    assert not list((index.parent / "pictures").iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"file.*: cannot be written: .*choose another --out"):
        build([rows.row()], tmp_path / "file")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        return whole(name, *arguments, **options)

    pages._environment.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraError, match=r"an HTML report needs jinja2: pip install 'xray-jax\[report\]'"):
        build([rows.row()], tmp_path / "out")
    assert not (tmp_path / "out").exists()
