"""The page that sums up several zoos."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from xray_jax.lab.reproduce import claims, evidence, figures, page, tables, thresholds
from xray_jax.lab.reproduce.evidence import EvidenceError


def test_each_zoo_has_a_page_and_the_summary_their_averages(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(folder, first)
    shutil.copytree(folder, second, ignore=shutil.ignore_patterns("maps"))
    shutil.copytree(folder / "maps", second / "maps")
    records = (second / "records.jsonl").read_text().replace('"dataset": "cifar10"', '"dataset": "gtsrb"')
    (second / "records.jsonl").write_text(records)
    out = tmp_path / "docs" / "reproduction.md"
    told = [f"--evidence={first}", f"--evidence={second}", f"--out={out}"]
    done = commands.finished("xray-reproduce", *told)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "Figures 9 and 10" not in text, "both zoos are of one network"
    for name, has in (("first", True), ("second", False)):
        assert ("## Table 3" in (out.parent / "reproduction" / f"{name}.md").read_text()) is has, "of CIFAR-10 alone"
    models = evidence.load(first)
    table = tables.table2(models, page.paper())
    header = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    ours = dict(zip(header, (c.strip() for c in table.splitlines()[3].strip("|").split("|")), strict=True))
    (line,) = [line for line in text.splitlines() if line.startswith("| [first](reproduction/first.md)")]
    assert f"| {ours['average of these']} (0.995 over 1 of 7) | {ours['average of the others']} |" in line
    settled = thresholds.settle(models)
    assert line.endswith(f"| {settled['re'].accuracy:.1%} | {settled['ats'].accuracy:.1%} | 87.5% |")
    (line,) = [line for line in text.splitlines() if line.startswith("| [second](reproduction/second.md)")]
    assert f"| {ours['average of these']} (0.997 over 1 of 7) |" in line
    # The paper calls LIRA easy on both data sets, BPP on GTSRB alone; and ours has neither.
    told_of = {claim.said for claim in claims.claims(models, page.paper())}
    assert "bpp is easy for RE (AUROC at least 0.9)" not in told_of
    (line,) = [line for line in text.splitlines() if line.startswith("| badnets is easy for RE")]
    assert line.count("agrees") == 2
    for name in ("first", "second"):
        written = (tmp_path / "docs" / "reproduction" / f"{name}.md").read_text()
        assert "## Table 2" in written
        assert (tmp_path / "docs" / "reproduction" / f"{name}_figures" / "figure4.png").exists()


def test_networks_on_one_data_set_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other" / "small")
    for part in ("records.jsonl", "rows.jsonl"):
        text = (other / part).read_text().replace('"architecture": "preactresnet-small"', '"architecture": "plain"')
        (other / part).write_text(text)
    zoos = {name: evidence.load(each) for name, each in (("own", folder), ("plain", other))}
    axes = figures.by_network(zoos, "re", "RE").axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["own", "plain"]
    assert axes.get_legend_handles_labels()[1] == ["clean", "badnets", "blended"]
    clean = [score for model in zoos["own"] if model.clean and (score := model.score("re")) is not None]
    assert axes.patches[0].get_height() == axes.patches[1].get_height() == pytest.approx(np.mean(clean))
    assert len(axes.patches) == 2 * 3
    page.write_all([folder, other], tmp_path / "page.md", "again")
    text = (tmp_path / "page.md").read_text()
    assert "## Figures 9 and 10: networks on cifar10" in text
    for name in ("re", "ats"):
        link = f"page/cifar10_{name}_by_network.png"
        assert f"({link})" in text
        assert (tmp_path / link).stat().st_size > 1000


def test_pages_of_one_name_and_single_tables_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / folder.name
    with pytest.raises(EvidenceError, match="two have one name"):
        page.write_all([folder, other], tmp_path / "page.md", "again")
    done = commands.finished(
        "xray-reproduce", f"--evidence={folder}", f"--evidence={other}", "--table=2", f"--out={tmp_path / 'page.md'}"
    )
    assert done.returncode == 4
    assert "--table and --figure are for one --evidence" in done.stderr
