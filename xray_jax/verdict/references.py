"""Reference models: what the detectors find on clean models of the same task, kept to compare with, like with like."""

import hashlib
import json
import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.files import atomic_write
from xray_jax.rows.row import OK, Row, is_backdoored, model_key, network
from xray_jax.verdict import conformal
from xray_jax.verdict.calibration import CalibrationError, is_doubtful
from xray_jax.verdict.conformal import Conformal

FORMAT = 1
ACCURACY_SLACK = 0.05
"""A model whose clean accuracy lies further outside that of the references was trained in another way."""
NOT_COMPARED = ("planes",)
"""Detectors whose level follows the recipe of training: a clean network with a tenth of its labels wrong stands out by
eight standard deviations of RE among clean ones without (docs/references.md)."""
SHIPPED = ("cifar10-preactresnet-small",)
"""References of the package, by the name that `load` takes: the demo's network on the images that ship."""
_ROUNDING = 0.02
"""Of the spread between models, what half precision may lose of a statistic that is kept in it."""
_MAX_BYTES = 1 << 28
_ABOUT = "about"
_SIDES = {"high": 1.0, "low": -1.0}


@dataclass(frozen=True)
class References:
    """Statistics of R clean reference models.

    Attributes:
      source: where they come from, for rows and people.
      ids: of the models, `[R]`.
      sha256: of their files, `[R]`; of a model in memory its id.
      architectures: that occur among them.
      num_classes: of all of them.
      accuracies: clean accuracies, `[R]`, 0 to 1.
      samples: hash of the samples that they were scanned with (`sweep.provenance.samples_hash`).
      settings: of each detector that they were scanned with.
      statistics: "detector.statistic" -> float16 or float32 `[R, *shape]`; high is suspect. Half precision where that
        tells the models apart as well.
    """

    source: str
    ids: tuple[str, ...]
    sha256: tuple[str, ...]
    architectures: tuple[str, ...]
    num_classes: int
    accuracies: tuple[float, ...]
    samples: str
    settings: Mapping[str, Any]
    statistics: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """First 16 hex digits of SHA-256 over everything that can change a p-value."""
        total = hashlib.sha256(json.dumps([self.num_classes, self.architectures, self.accuracies]).encode())
        for name, values in self.statistics.items():
            total.update(name.encode() + np.ascontiguousarray(values, np.float32).tobytes())
        return total.hexdigest()[:16]

    @property
    def best_p_value(self) -> float:
        """The smallest p-value that can be had: 1 / (R + 1)."""
        return 1 / (len(self.ids) + 1)

    def check(self, samples: str, settings: Mapping[str, Any], fpr: float) -> None:
        """Refuses a batch scan that does not ask what the references were asked, or a rate that they cannot give.

        Args:
          samples: hash of the scan's samples.
          settings: of each of the scan's detectors.
          fpr: false-positive rate of the verdict.

        Raises:
          CalibrationError: saying what differs and what to do.
        """
        if self.best_p_value > fpr:
            needed, possible = math.ceil(1 / fpr - 1e-9) - 1, math.ceil(1000 * self.best_p_value) / 1000
            raise CalibrationError(
                f"references {self.source}: {len(self.ids)} models give no p-value under {self.best_p_value:.3f}; "
                f"--fpr={fpr:g} needs {needed} of them, or give --fpr={possible:g} or more"
            )
        if (reason := self.asked_otherwise(samples, settings)) is not None:
            raise CalibrationError(reason)
        compared = set(self.settings) - set(NOT_COMPARED)
        if not set(settings) & compared:
            raise CalibrationError(
                f"references {self.source}: {sorted(compared)} are compared, none of which runs here"
            )

    def asked_otherwise(self, samples: str, settings: Mapping[str, Any]) -> str | None:
        """Why numbers of these samples and detectors are not like the references'; None where they are.

        Args:
          samples: hash of the samples.
          settings: of each detector that ran.
        """
        if samples != self.samples:
            return (
                f"references {self.source}: scanned with other samples (hash {self.samples}, this scan's {samples}); "
                "scan them with these samples and calibrate anew"
            )
        shared = sorted(set(settings) & set(self.settings) - set(NOT_COMPARED))
        if differing := [name for name in shared if settings[name] != self.settings[name]]:
            return (
                f"references {self.source}: {' and '.join(differing)} ran with other options; use theirs "
                f"({json.dumps({name: _differences(self.settings[name], settings[name]) for name in differing})}) "
                "or calibrate anew"
            )
        return None

    def unlike(self, row: Row) -> str | None:
        """Why the model of a row cannot be compared with these references; None where it can."""
        if row["num_classes"] != self.num_classes:
            return f"the references have {self.num_classes} classes, the model {row['num_classes']}"
        if (own := network(row["architecture"])) not in self.architectures:
            return f"the references are {' and '.join(self.architectures)}, the model is {own}"
        low, high, accuracy = min(self.accuracies), max(self.accuracies), row["clean_accuracy"]
        if not low - ACCURACY_SLACK <= accuracy <= high + ACCURACY_SLACK:
            return (
                f"the references label {low:.0%} to {high:.0%} of the samples right, the model {accuracy:.0%}: "
                "it was trained in another way"
            )
        return None

    def lacking(self, row: Row) -> list[str]:
        """Statistics of the references that a detector of the row could not compute, as for logits that are no numbers:
        what they would have said is not known, so the model must not pass for one that is like the references.
        """
        found = statistics_of(row)
        return sorted(n for n in self.statistics if n not in found and n.partition(".")[0] in row["detectors"])

    def others(self, row: Row, without: Collection[str] = ()) -> np.ndarray:
        """Which references a model is compared with, bool `[R]`: all but itself, and those of `without` (SHA-256)."""
        return np.array([sha256 not in (model_key(row), *without) for sha256 in self.sha256])

    def too_few(self, row: Row, fpr: float) -> str | None:
        """Why a rate that the references give is not to be had for the model of a row: it is one of few; else None."""
        others = int(self.others(row).sum())
        if others >= conformal.LEAST_REFERENCES and 1 / (others + 1) <= fpr + 1e-9:
            return None
        return f"the {others} references beside the model itself give no p-value of {fpr:g}"

    def judge(
        self, row: Row, fuse: conformal.Fusion = conformal.largest, without: Collection[str] = ()
    ) -> Conformal | None:
        """How the model of a row stands among the references; None without a shared statistic, or with fewer than
        `conformal.LEAST_REFERENCES` others.

        A model that is itself a reference is compared with the others.

        Args:
          row: its numbers.
          fuse: one score from all statistics; the verdict's unless another is to be compared with it.
          without: references to leave out, by SHA-256.
        """
        found = statistics_of(row)
        # Rounded as the references are: a model has the same numbers whether it is judged or a reference.
        own = {name: _in(theirs.dtype, found[name]) for name, theirs in self.statistics.items() if name in found}
        others = self.others(row, without)
        if not own or others.sum() < conformal.LEAST_REFERENCES:
            return None
        return conformal.judge(own, {name: self.statistics[name][others] for name in own}, fuse)

    def label(self, found: Conformal) -> int | None:
        """The class whose number stands out most; None where the leading statistic is not by class."""
        # The first axis is the references'.
        by_class = self.statistics[found.leading].shape[1:][-1:] == (self.num_classes,)
        return found.element[-1] if by_class else None

    def save(self, path: str | Path) -> None:
        """Writes one compressed `.npz`."""
        about: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "statistics"
        }
        text = np.frombuffer(json.dumps({"format": FORMAT, **about}).encode(), np.uint8)
        arrays: dict[str, Any] = {_ABOUT: text, **self.statistics}
        with atomic_write(Path(path), "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def statistics_of(row: Row) -> dict[str, np.ndarray]:
    """What models are compared by, by "detector.statistic"; high is suspect.

    A detector's paired numbers or, where it has none, its statistics; nothing of those in `NOT_COMPARED`. What could
    not be computed is left out.
    """
    found: dict[str, np.ndarray] = {}
    for detector in [name for name in row["detectors"] if name not in NOT_COMPARED]:
        block = row["detectors"][detector]
        own: dict[str, Any] = block.get("paired") or {
            s["name"]: _SIDES[s["suspect"]] * s["value"] for s in block["statistics"] if s["value"] is not None
        }
        numbers = {f"{detector}.{name}": np.asarray(value, np.float64) for name, value in own.items()}
        found |= {name: value for name, value in numbers.items() if np.isfinite(value).all()}
    return found


def _in(dtype: Any, values: np.ndarray) -> np.ndarray:
    """Numbers in a type of less precision; those beyond its range at the ends of it."""
    largest = np.finfo(dtype).max
    return np.asarray(np.clip(values, -largest, largest).astype(dtype))


def _kept(values: np.ndarray) -> np.ndarray:
    """A statistic of the models, `[R, *shape]`, in the precision that references keep it in."""
    halves = _in(np.float16, values)
    lost, spread = np.abs(values - halves).max(), np.sqrt(np.square(values - values.mean(axis=0)).mean())
    return halves if lost <= _ROUNDING * spread else _in(np.float32, values)


def from_rows(rows: Sequence[Row], source: str) -> References:
    """References from rows of clean models.

    Args:
      rows: a batch scan's; of a checkpoint the first counts. Those that are not ok, not said to be clean, or say of
        themselves that nothing can be concluded, do not.
      source: where they come from, for rows and people.

    Raises:
      CalibrationError: too few models, or rows that were not made alike.
    """
    clean = [row for row in rows if row["status"] == OK and is_backdoored(row["label"]) is False]
    first_of: dict[str, Row] = {}
    for row in clean:
        if not is_doubtful(row):
            first_of.setdefault(model_key(row), row)
    chosen = list(first_of.values())
    if len(chosen) < conformal.LEAST_REFERENCES:
        doubtful = sum(map(is_doubtful, clean))
        beside = f" ({doubtful} rows more are of constant output or doubtful preprocessing)" if doubtful else ""
        raise CalibrationError(
            f"{source}: {len(chosen)} clean models{beside}, references need {conformal.LEAST_REFERENCES} and 19 for "
            "--fpr=0.05"
        )
    first = chosen[0]
    for row in chosen:
        for name in ("samples", "detectors"):
            if row["settings"][name] != first["settings"][name]:
                raise CalibrationError(f"{source}: rows {first['id']} and {row['id']} were made with other {name}")
        if row["num_classes"] != first["num_classes"]:
            raise CalibrationError(f"{source}: rows {first['id']} and {row['id']} have different numbers of classes")
    by_row = [statistics_of(row) for row in chosen]
    shared = [name for name in by_row[0] if all(name in found for found in by_row)]
    if not shared:
        raise CalibrationError(
            f"{source}: no numbers that can be compared and all models have (those of {' and '.join(NOT_COMPARED)} are "
            "not compared); scan them with --detectors=probe,panel,margin,perturbation"
        )
    return References(
        source=source,
        ids=tuple(row["id"] for row in chosen),
        sha256=tuple(model_key(row) for row in chosen),
        architectures=tuple(sorted({network(row["architecture"]) for row in chosen})),
        num_classes=first["num_classes"],
        accuracies=tuple(round(row["clean_accuracy"], 4) for row in chosen),
        samples=first["settings"]["samples"],
        settings={k: v for k, v in first["settings"]["detectors"].items() if v is not None},
        statistics={name: _kept(np.stack([found[name] for found in by_row])) for name in shared},
    )


def load(path: str | Path) -> References:
    """The references that `References.save` wrote, or those of the package that are called so.

    Raises:
      CalibrationError: naming the file and what is wrong with it.
    """
    where, shipped = f"--references={path}", str(path) if path in SHIPPED else None
    if shipped is not None:
        path = Path(str(resources.files("xray_jax"))) / "verdict" / f"{path}.npz"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise CalibrationError(f"{where}: unpacks to more than {_MAX_BYTES >> 20} MiB, which no references do")
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays[_ABOUT].tobytes())
            if about.pop("format") != FORMAT:
                raise CalibrationError(f"{where}: of another version of this tool; calibrate anew")
            kept = {name: arrays[name] for name in arrays.files if name != _ABOUT}
            statistics = {n: v if v.dtype == np.float16 else np.asarray(v, np.float32) for n, v in kept.items()}
        about |= {name: tuple(about[name]) for name in ("ids", "sha256", "architectures", "accuracies")}
        # The file of rows that they were made of says nothing to those who have only their name.
        made = References(**about | ({"source": shipped} if shipped else {}), statistics=statistics)
        wrong = [name for name, values in statistics.items() if values.shape[:1] != (len(made.ids),)]
        if wrong or not statistics or not len(made.accuracies) == len(made.sha256) == len(made.ids):
            raise ValueError(f"statistics {wrong} are not of {len(made.ids)} models")
        return made
    except CalibrationError:
        raise
    except OSError as error:
        raise CalibrationError(f"{where}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise CalibrationError(
            f"{where}: not what xray-calibrate --references writes ({type(error).__name__}: {error})"
        ) from error


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The references' value of each option that this scan sets otherwise."""
    return {name: value for name, value in theirs.items() if ours.get(name) != value}
