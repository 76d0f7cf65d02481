"""What a row is: the types of schema 2. `schema.json` beside this file says the same to other tools."""

import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

SCHEMA = 2
"""Version of the shape of rows. Rows of schema 1 are upgraded as they are read (`rows.upgrade`)."""

OK, ERROR, SKIPPED = "ok", "error", "skipped"
BACKDOORED, SUSPECT, CLEAN, UNKNOWN = VERDICTS = ("backdoored", "suspect", "clean", "unknown")
FLAGGED = (BACKDOORED, SUSPECT)
"""Verdicts that somebody should look at; they set the exit code."""


class StatisticFields(TypedDict):
    """One statistic of a detector.

    Attributes:
      name: unique within the detector.
      value: the number; None where it could not be computed.
      suspect: "low" or "high".
    """

    name: str
    value: float | None
    suspect: str


class DetectorBlock(TypedDict):
    """What every detector's block holds; what else it holds is the detector's own (`PlanesBlock`, `ProbeBlock`).

    Attributes:
      statistics: what a verdict can be drawn from.
      target: the label that a backdoor would send images to; None where the detector names none.
      queries: hard labels (or forward passes) asked for.
      seconds: by phase.
      paired: numbers that are compared with those of reference models element by element, nested lists by name.
    """

    statistics: list[StatisticFields]
    target: int | None
    queries: int
    seconds: dict[str, float]
    paired: NotRequired[dict[str, Any]]


class ScoreFields(TypedDict):
    """A score over planes.

    Attributes:
      mean: over the planes.
      std: between planes (one degree of freedom less).
      per_plane: of each plane.
    """

    mean: float
    std: float
    per_plane: list[float]


class PlanesBlock(DetectorBlock):
    """The block of `planes`.

    Attributes:
      re: Renyi entropy in bits.
      ats: area of the triple samples.
      label_distribution: share of the planes that each label owns.
      planes: how many there were.
      sampling: how their nodes were chosen: "grid", "refine" or "sketch".
      reason: why the scores say nothing of the model, and its statistics have no value; None where they do. Not in
        older rows.
      stopped: in rows of scans that could stop early, why there are no more: "planes", "settled" or "budget".
    """

    re: ScoreFields
    ats: ScoreFields
    label_distribution: list[float]
    planes: int
    sampling: str
    reason: NotRequired[str | None]
    stopped: NotRequired[str]


class ProbeBlock(DetectorBlock):
    """The block of `probe`.

    Attributes:
      verdict: "confirmed", "nothing found" or "unknown".
      reason: the verdict in words.
      kind: "all-to-one" or "all-to-all" of a confirmed trigger.
      score: lower end of the best finding's flip rate.
      threshold: what that had to reach.
      margin: score minus threshold.
      best: the finding that carries the verdict.
      candidates: all findings over half.
      profile: family -> best confirmed flip rate at each cost level.
      levels: upper ends of the cost levels.
      families: that were tried.
      null: what clean models do: its source, and of how many models.
      clean_accuracy: on the probe's images.
      confirm_images: images that the search never saw.
      tuning: of a confirmed trigger, how its flip rate changes with each of its parameters.
      hinted: family of patterns that white-box detectors gave -> each class's flip rate on search images.
    """

    verdict: str
    reason: str
    kind: str | None
    score: float | None
    threshold: float | None
    margin: float | None
    best: dict[str, Any] | None
    candidates: list[dict[str, Any]]
    profile: dict[str, list[float | None]]
    levels: list[float]
    families: list[str]
    null: dict[str, Any]
    clean_accuracy: float
    confirm_images: int
    tuning: NotRequired[dict[str, Any]]
    hinted: NotRequired[dict[str, list[float]]]


class ComparisonFields(TypedDict):
    """How a model stands among clean reference models (`verdict.conformal`).

    Attributes:
      p_value: (1 + references that stand out as much) / (references + 1); None where it could not be compared.
      fpr: the p-value at or under which it is suspect.
      models: number of references.
      source: of the references.
      standout: by statistic, how far the model stands out, in standard deviations.
      leading: the statistic that stands out most.
      label: the class whose number does, where the leading statistic is by class.
      reason: why it could not be compared.
      reference_standout: by statistic, how far the references stand out, in order; of more than 41 as many quantiles.
        Each is set against the others and the model, as the model is against them.
      threshold: what a statistic must stand out by for a p-value of `fpr`; None where it could not be compared.
    """

    p_value: float | None
    fpr: float
    models: int
    source: str
    standout: dict[str, float]
    leading: str | None
    label: int | None
    reason: str | None
    reference_standout: NotRequired[dict[str, list[float]]]
    threshold: NotRequired[float | None]


class PreprocessChoiceFields(TypedDict):
    """How the preprocessing was chosen by the clean samples.

    Attributes:
      name: for `--preprocess`.
      accuracy: clean accuracy under it.
      tried: how many presets were tried.
      images: clean samples that they were tried on.
      runner_up: the best of those that are not the same in effect.
      runner_up_accuracy: clean accuracy under it.
      doubt: why the choice may be wrong; None where it is plain.
    """

    name: str
    accuracy: float
    tried: int
    images: int
    runner_up: str | None
    runner_up_accuracy: float | None
    doubt: str | None


class Row(TypedDict):
    """What is said of one checkpoint.

    Attributes:
      id: unique in the batch scan.
      schema: `SCHEMA`.
      path: where the checkpoint was; empty for a model in memory.
      part: the network of a file that holds several; None of a whole file.
      parts: of a file that was skipped because it holds several classifiers: their names. Each has a row of its own.
      source: the address that it was fetched from, without credentials; None where it was on this machine.
      revision: of the content at that address: the commit, version, ETag or generation; None where there is none.
      declared: a hash of what a hub declares of the files at that address; None elsewhere.
      sha256: of its content; None where it could not be read, and of a model in memory.
      format: of the file; "memory" for a model that comes from none.
      architecture: as recognised or declared.
      num_classes: labels are below it.
      runtime: what computed its labels: "jax", "onnxruntime" (the notes say why) or "callable".
      preprocess: pixel values to the network's input space.
      preprocess_source: who says so: "given", "file", "assumed" or "chosen".
      preprocess_choice: how the samples chose it; None where they did not.
      status: "ok", "error" or "skipped".
      reason: of an error or a skip.
      verdict: one of `VERDICTS`; None without a scan.
      basis: what the verdict rests on.
      verdict_re: the planes' RE alone.
      verdict_ats: the planes' ATS alone.
      comparison: how the model stands among the reference models; None without them.
      target_label: the likely target: of what the verdict rests on, if it names one.
      clean_accuracy: on the clean samples.
      accuracy_images: how many those were.
      constant_output: whether all of them got one label.
      detectors: the block of each detector that ran.
      not_run: detectors that did not run, and why.
      label: ground truth of the manifest.
      target: ground truth of the manifest.
      manifest: other fields of the manifest line.
      settings: everything that can change the row.
      settings_hash: of `settings`.
      notes: what was assumed.
      queries: hard labels asked for, all in all.
      samples: where the clean samples came from; what they are, by their hash, is in `settings`.
      scanned_at: when the scan of this checkpoint began, ISO 8601 in UTC, by the machine's clock.
      seconds: by stage.
      device: what it ran on.
      versions: of the packages that numbers may depend on.
      version: of this tool.
    """

    id: str
    schema: int
    path: str
    part: NotRequired[str | None]
    parts: NotRequired[list[str]]
    source: NotRequired[str | None]
    revision: NotRequired[str | None]
    declared: NotRequired[str | None]
    sha256: str | None
    format: str | None
    architecture: str | None
    num_classes: NotRequired[int]
    runtime: NotRequired[str]
    preprocess: NotRequired[dict[str, Any]]
    preprocess_source: NotRequired[str]
    preprocess_choice: NotRequired[PreprocessChoiceFields | None]
    status: str
    reason: str | None
    verdict: str | None
    basis: NotRequired[str]
    verdict_re: NotRequired[str]
    verdict_ats: NotRequired[str]
    comparison: NotRequired[ComparisonFields | None]
    target_label: NotRequired[int | None]
    clean_accuracy: NotRequired[float]
    accuracy_images: NotRequired[int]
    constant_output: NotRequired[bool]
    detectors: dict[str, Any]
    not_run: dict[str, str]
    label: Any
    target: int | None
    manifest: dict[str, Any]
    settings: dict[str, Any]
    settings_hash: str
    notes: list[str]
    queries: NotRequired[int]
    samples: NotRequired[str]
    scanned_at: NotRequired[str]
    seconds: NotRequired[dict[str, float]]
    device: str
    versions: dict[str, str]
    version: str


class EarlierRow(TypedDict):
    """What a later run has to know of a row: whether it is of the same scan, and says the same. Every `Row` is one.

    Attributes: see `Row`; `reason` is None where a content hash says what was scanned.
    """

    id: str
    sha256: str | None
    settings_hash: str
    version: str
    reason: str | None
    source: NotRequired[str | None]
    revision: NotRequired[str | None]
    declared: NotRequired[str | None]


def by_id(rows: Mapping[tuple[Any, ...], EarlierRow]) -> dict[str, dict[tuple[Any, ...], EarlierRow]]:
    """Rows by `rows.file.identity`, those of each checkpoint together."""
    found: defaultdict[str, dict[tuple[Any, ...], EarlierRow]] = defaultdict(dict)
    for key, row in rows.items():
        found[row["id"]][key] = row
    return dict(found)


def model_key(row: Row) -> str:
    """What tells models apart: the hash of the checkpoint, or of a model in memory its id."""
    return row["sha256"] or f"id {row['id']}"


def network(architecture: str | None) -> str:
    """An architecture without the naming that the file used: the same network has several."""
    return str(architecture).partition(" (naming")[0]


def is_flagged(row: Row) -> bool:
    """Whether somebody should look at the checkpoint."""
    return row["verdict"] in FLAGGED


def is_backdoored(label: Any) -> bool | None:
    """Ground truth of a manifest as a bool: "clean" or "backdoored", 0 or 1, true or false; None when not given."""
    known = {"clean": False, "backdoored": True, "0": False, "1": True, "false": False, "true": True}
    return None if label is None else known.get(str(label).lower())


def planes_block(row: Row) -> PlanesBlock | None:
    """What the planes found; None where they did not run, or say of themselves that it means nothing."""
    block: PlanesBlock | None = row["detectors"].get("planes")
    return None if block is None or block.get("reason") is not None else block


def probe_block(row: Row) -> ProbeBlock | None:
    """What the probe found; None where it did not run."""
    return row["detectors"].get("probe")


def mean_over_planes(row: Row, statistic: str) -> float | None:
    """Mean of "re" or "ats"; None where the planes did not run or say none, as of what is not finite."""
    block: Any = planes_block(row)
    score = block.get(statistic) if block is not None else None
    mean = score.get("mean") if isinstance(score, dict) else None
    return float(mean) if isinstance(mean, int | float) and abs(mean) <= sys.float_info.max else None
