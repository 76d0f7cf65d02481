"""What references are worth, against plain counts."""

import json
from pathlib import Path

import pytest

from tests import commands
from tests.verdict.test_references import made, row
from xray_jax.rows import file as row_file
from xray_jax.verdict.calibration import CalibrationError
from xray_jax.verdict.evaluation import judge_all, table
from xray_jax.verdict.references import from_rows, load

CLEAN = [row(n) for n in range(19)]
BAD = [
    row(40 + n, bump=2.0, label="backdoored", target=3 if n else 1, manifest={"attack": "badnets"}) for n in range(3)
]
CONTROL = [row(60, manifest={"control": "label noise"}), row(61, bump=2.0, manifest={"control": "label noise"})]
UNKNOWN = [row(70, label=None), row(71, architecture="other", label="backdoored", target=0, manifest={"attack": "lf"})]


def test_every_model_of_known_truth_is_judged() -> None:
    judged = judge_all([*CLEAN, *BAD, *CONTROL, *UNKNOWN], made())
    assert [model.group for model in judged] == ["clean"] * 19 + ["badnets"] * 3 + ["label noise"] * 2 + ["lf"]
    assert judged[-1].found is None
    for model in judged[:19]:
        assert model.found is not None
        assert model.found.references == 18
    for model in judged[19:22]:
        assert model.found is not None
        assert (model.found.p_value, model.label) == (0.05, 3)


def test_an_unusual_model_is_compared_with_references_that_are_not_unusual_in_its_way() -> None:
    """Two of one kind are among the references: only without the other does either stand out."""
    references = from_rows([*CLEAN, *(row(n, bump=2.0, manifest={"control": "noise"}) for n in (60, 61))], "all")
    noisy = [row(60, bump=2.0, manifest={"control": "noise"}), row(61, bump=2.0, manifest={"control": "noise"})]
    crop = row(62, bump=2.0, manifest={"control": "crop"})
    found = [model.found for model in judge_all([*CLEAN, *noisy, crop], references)]
    assert [f.references for f in found if f is not None] == [20] * 19 + [19, 19, 21]
    assert [f.p_value for f in found[19:] if f is not None] == [1 / 20, 1 / 20, 3 / 22]


def test_an_unusual_model_is_not_compared_with_others_that_were_made_of_the_same_one() -> None:
    kin = [row(60 + n, manifest={"control": control, "spec": {"start": "s1"}}) for n, control in enumerate("ab")]
    other = row(62, manifest={"control": "c", "spec": {"start": "s2"}})
    attacked = row(63, label="backdoored", manifest={"attack": "badnets", "spec": {"start": "s1"}})
    judged = judge_all([*CLEAN, *kin, other, attacked], from_rows([*CLEAN, *kin, other], "all"))
    assert [m.found.references for m in judged[19:] if m.found is not None] == [20, 20, 21, 22]


@pytest.mark.parametrize(("count", "start"), [(19, "imagenet"), (4, None)])
def test_models_with_too_few_others_could_not_be_compared(count: int, start: str | None, tmp_path: Path) -> None:
    rows = [row(n, manifest={"spec": {"start": start}}) for n in range(count)]
    judged = judge_all([*rows, *BAD], from_rows(rows, "x"))
    assert [model.found is None for model in judged] == [True] * count + [False] * 3
    assert f"{count} models could not be compared." in table(judged, 0.05)
    row_file.write_all(tmp_path / "rows.jsonl", rows)
    command = ["xray-calibrate", "--rows=rows.jsonl", "--references=made.npz", "--evaluation=table.md"]
    assert commands.finished(*command, cwd=tmp_path).returncode == 0


def test_what_no_scan_would_judge_is_not_counted() -> None:
    """Of a checkpoint one row, and none of those that conclude nothing, or were not asked what the references were."""
    again = [BAD[0] | {"id": "again"}, row(80, label="backdoored", basis="constant_output")]
    judged = judge_all([*CLEAN, *BAD, *again], made())
    assert [model.id for model in judged] == [each["id"] for each in (*CLEAN, *BAD)]
    settings = BAD[0]["settings"]
    other_samples = settings | {"samples": "others"}
    other_options = settings | {"detectors": {"margin": {"starts": 9, "steps": 30}, "other": {}}}
    for changed, said in ((other_samples, "other samples"), (other_options, "margin ran with other options")):
        with pytest.raises(CalibrationError, match=f"row model-81: references clean.jsonl: .*{said}"):
            judge_all([*CLEAN, row(81, label="backdoored", settings=changed)], made())


def test_nothing_is_written_where_rows_cannot_be_judged(tmp_path: Path) -> None:
    row_file.write_all(tmp_path / "clean.jsonl", CLEAN)
    row_file.write_all(tmp_path / "other.jsonl", [row(81, settings=CLEAN[0]["settings"] | {"samples": "others"})])
    command = ["xray-calibrate", "--rows=clean.jsonl", "--judge=other.jsonl", "--references=made.npz"]
    done = commands.finished(*command, "--evaluation=table.md", cwd=tmp_path)
    assert (done.returncode, "row model-81" in done.stderr, (tmp_path / "made.npz").exists()) == (4, True, False)


def test_the_table_holds_against_a_rate_that_every_model_can_have() -> None:
    """Of ten references each has nine others, so that no p-value is under a tenth."""
    judged = judge_all([*CLEAN[:9], row(9, bump=2.0), *BAD], made(9))
    found = table(judge_all([*CLEAN[:9], row(9, bump=2.0), *BAD], from_rows([*CLEAN[:9], row(9, bump=2.0)], "x")), 0.05)
    assert "| flagged at 0.1 |" in found
    assert "| clean | 10 | 1 (" in found
    assert "| flagged at 0.111 |" in table(judged, 0.05)


def test_the_table_counts_what_is_flagged_and_whose_target_is_right() -> None:
    lines = table(judge_all([*CLEAN, *BAD, *CONTROL, *UNKNOWN], made()), 0.05).splitlines()
    assert lines[0].endswith("1 models could not be compared.")
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:]}
    assert cells["models"][3:] == ["fused", "margin.log_margin", "other.weight"]
    assert cells["badnets"][0] == "3"
    assert cells["badnets"][1].startswith("3 (")
    assert cells["badnets"][2] == "2 of 3"
    assert cells["label noise"][2] == ""
    assert cells["badnets"][3] == "1.000 [1.000, 1.000]"
    assert cells["clean"][0] == "19"
    assert cells["clean"][3:] == ["", "", ""]
    assert cells["label noise"][1].startswith("1 (")


def test_the_command_writes_references_and_what_they_are_worth(tmp_path: Path) -> None:
    for name, rows in (("clean", CLEAN), ("others", [*BAD, *CONTROL])):
        (tmp_path / f"{name}.jsonl").write_text("".join(row_file.encode(each) + "\n" for each in rows))
    command = ["xray-calibrate", "--rows=clean.jsonl", "--judge=others.jsonl"]
    done = commands.finished(*command, "--references=references.npz", "--evaluation=table.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["references"], said["statistics"]) == (19, ["margin.log_margin", "other.weight"])
    assert load(tmp_path / "references.npz").digest == from_rows(CLEAN, "clean.jsonl").digest
    assert (tmp_path / "table.md").read_text() == table(judge_all([*CLEAN, *BAD, *CONTROL], made()), 0.05)
    done = commands.finished(*command, "--evaluation=t.md", cwd=tmp_path)
    assert done.returncode == 4
    assert "give --references" in done.stderr
