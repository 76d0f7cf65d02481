"""The tables of every detector, against counts done by hand."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import commands
from tests.places import ROOT
from tests.rows import rows
from tests.verdict.test_references import row as reference_row
from xray_jax.detectors import registry
from xray_jax.lab.reproduce import comparison, page
from xray_jax.lab.reproduce.evidence import EvidenceError
from xray_jax.lab.reproduce.methods import METHODS, Method
from xray_jax.rows import file as row_file
from xray_jax.verdict.references import from_rows, load

OPTIONS = {"starts": 3, "steps": 30}


def row(number: int, surprise: float, re: float | None = None, **changes: Any) -> Any:
    """A model that MM-BD scores with `surprise`, and the planes with `re` where they ran."""
    made = reference_row(number, bump=2.0 if surprise > 5 else 0.0, **changes)
    made["detectors"] = {"margin": made["detectors"]["margin"]}
    made["detectors"]["margin"]["statistics"] = [{"name": "surprise", "value": surprise, "suspect": "high"}]
    made["settings"] = {"samples": "abc", "detectors": {"margin": OPTIONS}}
    made["seconds"] = {"margin": float(number)}
    if re is not None:
        made["detectors"]["planes"] = rows.planes(re, 0.5)
        made["settings"]["detectors"]["planes"] = rows.PLANES_OPTIONS
        made["seconds"]["planes"] = 2.0
    return made


def backdoored(number: int, surprise: float, attack: str = "badnets", strategy: str = "all-to-one", **more: Any) -> Any:
    manifest = {"attack": attack, "strategy": strategy}
    return row(number, surprise, label="backdoored", target=3, manifest=manifest, **more)


CLEAN = [row(n, n / 10, re=2.0, manifest={"spec": {"dataset": "cifar10"}}) for n in range(20)]
BAD = [
    *(backdoored(20 + n, 9.0 if n else 0.05, re=1.0) for n in range(4)),
    backdoored(30, 9.0, "lf"),
    backdoored(31, 0.35, strategy="5-to-one"),
]
CONTROL = [row(40, 9.0, manifest={"control": "label-noise"})]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two row files; the second has a detector more of a model that is in the first."""
    other = row(0, 0.0)
    block = {"statistics": [{"name": "meta_score", "value": 0.5, "suspect": "high"}], "target": None, "queries": 10}
    other["detectors"] = {"mntd": {**block, "seconds": {}}}
    other["settings"] = {"samples": "abc", "detectors": {"mntd": {"file": "x"}}}
    other["seconds"] = {"mntd": 0.25}
    for name, content in (("a", [*CLEAN, *BAD, *CONTROL]), ("b", [other])):
        (tmp_path / f"{name}.jsonl").write_text("".join(row_file.encode(each) + "\n" for each in content))
    return [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]


def cells(text: str, section: str, title: str) -> dict[str, str]:
    """The cells of one line of one table, by column."""
    lines = text[text.index(section) :].splitlines()
    header = next(line for line in lines if line.startswith("|"))
    line = next(line for line in lines if line.startswith(f"| {title} |"))
    names, values = ([cell.strip() for cell in each.split("|")[1:-1]] for each in (header, line))
    return dict(zip(names, values, strict=True))


def test_every_method_is_scored_by_attack_and_by_strategy(files: list[str]) -> None:
    text = comparison.page(files, from_rows(CLEAN, "clean"), page.paper(), 0.05, "the command")
    assert "27 models: 20 clean, 6 backdoored, 1 clean ones" in text
    found = cells(text, "## Table 2", "MM-BD, ours")
    # Three of four above all clean ones; the fourth, at 0.05, above one of twenty.
    assert found["badnets"].startswith(f"{(3 + 1 / 20) / 4:.3f} [")
    assert (found["lf"], found["ssba"], found["worst"]) == ("1.000", "-", "0.762")
    assert cells(text, "## Table 2", "RE, ours")["badnets"] == "1.000 [1.000, 1.000]"
    assert cells(text, "## Table 2", "RE, ours")["lf"] == "-"
    assert cells(text, "## Table 2", "MM-BD, paper")["badnets"] == "1.000"
    # 0.35 lies above 0, 0.1, 0.2 and 0.3.
    assert cells(text, "## Table 3", "MM-BD, ours")["5-to-one"] == f"{4 / 20:.3f}"
    assert cells(text, "## Table 3", "models")["10-to-one"] == "4"
    assert cells(text, "## Table 2", "**Fused**, ours")["lf"] == "1.000"


def test_samples_seconds_and_queries_are_those_of_the_rows(files: list[str]) -> None:
    text = comparison.page(files, None, page.paper(), 0.05, "the command")
    planes = 3 * rows.PLANES_OPTIONS["planes"]
    assert cells(text, "## Table 4", "RE") == {"": "RE", "ours, at most": f"{planes}", "paper": "60"}
    found = cells(text, "## Table 5", "MM-BD")
    numbers = [each["seconds"]["margin"] for each in [*CLEAN, *BAD, *CONTROL]]
    assert found["seconds, ours"] == f"{np.median(numbers):.1f}"
    assert (found["queries"], found["models"], found["seconds, paper"]) == ("90", "27", "75.2")
    assert cells(text, "## Table 5", "MNTD")["models"] == "1"
    assert "Flagged" not in text


@pytest.mark.parametrize("method", [method for method in METHODS if method.detector != "mntd"], ids=lambda m: m.title)
def test_methods_read_what_their_detectors_are_asked_with(method: Method) -> None:
    """But for MNTD, which nobody makes without a meta-classifier."""
    options = registry.factories()[method.detector](0).options
    assert method.samples is not None
    looked_at = method.samples(row_file.json_form(dataclasses.asdict(options)))
    assert (looked_at == 0) == (method.detector == "margin"), "MM-BD begins with noise"


def test_flagged_models_are_counted_by_kind(files: list[str]) -> None:
    text = comparison.page(files, from_rows(CLEAN, "clean"), page.paper(), 0.05, "the command")
    section = "## Flagged"
    assert cells(text, section, "backdoored")["largest"] == "4 of 6"
    assert cells(text, section, "trained in unusual ways")["largest"] == "1 of 1"
    assert cells(text, section, "clean")["largest"] == "1 of 20"
    assert cells(text, section, "backdoored")["labels only"] == "0 of 0"


def test_refused_models_and_other_rates_are_left_out_and_counted(tmp_path: Path) -> None:
    poor = backdoored(51, 0.0)
    poor["manifest"] |= {"rate": 0.1, "failed": "attack success 0.100 is under 0.90"}
    useless = row(52, 9.9, manifest={"failed": "clean accuracy 0.100 is more than 0.03 under the clean models' mean"})
    rare, sig, evading = backdoored(53, 0.0), backdoored(54, 9.0, "sig"), backdoored(55, 9.0, "sig-evading-planes")
    narrow = backdoored(56, 0.35, strategy="2-to-one")
    for model, rate in ((rare, 0.01), (sig, 0.05), (evading, 0.05), (narrow, 0.02)):
        model["manifest"]["rate"] = rate
    file = tmp_path / "rows.jsonl"
    made = [*CLEAN, *BAD, poor, useless, rare, sig, evading, narrow]
    file.write_text("".join(row_file.encode(each) + "\n" for each in made))
    text = comparison.page([str(file)], None, page.paper(), 0.05, "the command")
    assert "29 models: 20 clean, 9 backdoored, 0 clean ones" in text
    assert "Left out: 2 refused, 1 poisoned at other rates." in text
    assert cells(text, "## Table 2", "models")["badnets"] == "4"
    assert cells(text, "## Table 2", "MM-BD, ours")["badnets"].startswith(f"{(3 + 1 / 20) / 4:.3f} [")
    assert cells(text, "## Table 2", "models")["sig"] == "1"
    assert cells(text, "## Table 3", "models")["2-to-one"] == "1"
    assert cells(text, "## Attackers", "models")["sig-evading-planes"] == "1"
    file.write_text("".join(row_file.encode(each) + "\n" for each in [*CLEAN, *BAD]))
    assert "Left out" not in comparison.page([str(file)], None, page.paper(), 0.05, "the command")


def test_a_line_of_fewer_models_says_so(tmp_path: Path) -> None:
    """The planes saw neither one of the clean models nor one of BadNets."""
    file = tmp_path / "rows.jsonl"
    made = [row(99, 0.5), *CLEAN, *BAD, backdoored(57, 9.0)]
    file.write_text("".join(row_file.encode(each) + "\n" for each in made))
    text = comparison.page([str(file)], None, page.paper(), 0.05, "the command")
    assert cells(text, "## Table 2", "RE, ours")["badnets"] == "1.000 [1.000, 1.000], 4 of 5, against 20 of 21 clean"
    assert cells(text, "## Table 3", "RE, ours")["10-to-one"] == "1.000 [1.000, 1.000], 4 of 5, against 20 of 21 clean"
    assert cells(text, "## Table 2", "MM-BD, ours")["lf"] == "1.000"


def test_rows_that_were_made_otherwise_are_not_joined(tmp_path: Path) -> None:
    other = backdoored(50, 9.0)
    other["settings"]["detectors"]["margin"] = {**OPTIONS, "starts": 5}
    with pytest.raises(EvidenceError, match=r"model-50: margin differ"):
        comparison.join([CLEAN[0], other])
    other["settings"] = {"samples": "else", "detectors": {"margin": OPTIONS}}
    with pytest.raises(EvidenceError, match=r"model-50: samples differ"):
        comparison.join([CLEAN[0], other])
    file = tmp_path / "clean.jsonl"
    file.write_text("".join(row_file.encode(each) + "\n" for each in CLEAN))
    with pytest.raises(EvidenceError, match="needs clean and backdoored"):
        comparison.page([str(file)], None, page.paper(), 0.05, "")


def test_the_command_writes_the_page(files: list[str], tmp_path: Path) -> None:
    from_rows(CLEAN, "clean").save(tmp_path / "references.npz")
    command = ["xray-reproduce", *(f"--rows={file}" for file in files)]
    told = [*command, f"--references={tmp_path / 'references.npz'}", f"--out={tmp_path / 'page.md'}"]
    done = commands.finished(*told)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "page.md").read_text()
    assert f"`xray-reproduce --rows={files[0]}" in written
    assert cells(written, "## Flagged", "backdoored")["largest"] == "4 of 6"
    done = commands.finished(*told, "--evidence=x")
    assert done.returncode == 4
    assert "either --evidence" in done.stderr


def test_the_page_of_the_docs_is_what_its_command_writes() -> None:
    written = (ROOT / "docs/comparison.md").read_text()
    command = written.split("`")[1]
    files = [str(ROOT / word.removeprefix("--rows=")) for word in shlex.split(command) if word.startswith("--rows=")]
    made = comparison.page(files, load("cifar10-preactresnet-small"), page.paper(), 0.05, command)
    assert made == written
