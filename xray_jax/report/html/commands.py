"""The commands that repeat what a row says, word for word, for a shell."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xray_jax import samples
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.sampling import SAMPLINGS
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.report.row_values import compared
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import OK, Row, probe_block
from xray_jax.sweep.provenance import samples_hash
from xray_jax.verdict import references
from xray_jax.verdict.calibration import PAPER, PAPER_CALIBRATIONS

CHECKPOINT, SAMPLES, CALIBRATION, NULL, REFERENCES = (
    "CHECKPOINT",
    "SAMPLES.npz",
    "CALIBRATION.json",
    "NULL.json",
    "REFERENCES.npz",
)
"""Stand for files of which a row knows only the content."""
_FLAGS_OF_PLANES = ("planes", "density", "expansion", "alpha", "ats_cap", "ats")
_SCAN_SAMPLING = "refine"
_PRECISION, _DECIDE, _FPR = "float32", "either", 0.05


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
      what: it does, in a few words.
      line: to paste into a shell.
      note: what has to be put in its place first; empty where nothing has.
    """

    what: str
    line: str
    note: str = ""


def of(row: Row, file: Path | None = None) -> list[Command]:
    """What repeats the scan of a row and, where there is a stamp, puts it on fresh images; `file` holds it."""
    settings = row["settings"]
    name, note = _samples(row)
    flags: dict[str, Any] = {"checkpoints": _checkpoint(row), "samples": name}
    notes = [note] if note else []
    if not row["path"]:
        notes.append(f"{CHECKPOINT} stands for the model, which was scanned in memory: save it first.")
    detectors = settings.get("detectors")
    blocks = detectors if isinstance(detectors, Mapping) else {}
    if blocks and list(blocks) != ["planes", "probe"]:
        flags["detectors"] = ",".join(map(str, blocks))
    _calibration(settings.get("calibration"), flags, notes)
    _references(row, flags, notes)
    for flag, default in (("decide", _DECIDE), ("seed", 0), ("precision", _PRECISION)):
        if settings.get(flag, default) != default:
            flags[flag] = settings[flag]
    if "calibration" not in flags:
        # Without thresholds the rule decides nothing, and the flag is refused.
        flags.pop("decide", None)
    for flag in ("architecture", "num_classes", "preprocess"):
        value = settings.get(flag)
        if value is not None:
            flags[flag] = json.dumps(value) if isinstance(value, Mapping) else value
    _planes(blocks.get("planes"), flags, notes)
    _probe(blocks.get("probe"), flags, notes, settings.get("calibration"))
    flags["out"] = "again.jsonl"
    made = [Command("Scan it again", _line("xray-scan", flags), " ".join(notes))]
    probe = probe_block(row)
    if row["status"] == OK and probe is not None and probe.get("best"):
        flags = {"row": str(file or "rows.jsonl"), "id": row["id"], "samples": "FRESH.npz"}
        flags["picture"] = "trigger.png"
        what = "Put the best trigger found on images of your own, and count"
        note = "FRESH.npz stands for clean labelled images that the scan has not seen."
        made.append(Command(what, _line("xray-confirm", flags), note))
    return made


def _checkpoint(row: Row) -> str:
    return f"{row['path']}#{row['part']}" if row.get("part") else row["path"] or CHECKPOINT


def shell_word(text: str) -> str:
    """A text as one word of a shell: quoted where needed, by escapes where it holds what cannot be shown."""
    if printable(text) == text:
        return shlex.quote(text)
    escaped = "".join(map(_escaped, text))
    return f"$'{escaped}'"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # An undecodable byte of a file name.
        return f"\\x{code - 0xDC00:02x}"
    if character in "\\'":
        return f"\\{character}"
    if character.isascii() and character.isprintable():
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _line(command: str, flags: Mapping[str, Any]) -> str:
    return " ".join([command, *(f"--{name}={shell_word(str(value))}" for name, value in flags.items())])


def _samples(row: Row) -> tuple[str, str]:
    """What to give as --samples, and a note where the row does not know."""
    known, where = row["settings"].get("samples"), row.get("samples")
    for name in samples.SHIPPED:
        if known == _shipped_hash(name):
            return name, ""
    if isinstance(where, str) and where:
        return where, ""
    return SAMPLES, f"{SAMPLES} stands for the clean images of the scan (their hash is {printable(str(known))})."


@cache
def _shipped_hash(name: str) -> str:
    return samples_hash(samples.read(name))


@cache
def _shipped_digest(name: str) -> str:
    return references.load(name).digest


def _calibration(calibration: Any, flags: dict[str, Any], notes: list[str]) -> None:
    if not isinstance(calibration, Mapping):
        return
    source = calibration.get("source")
    for name, known in PAPER_CALIBRATIONS.items():
        if source == known.source:
            flags["calibration"] = PAPER + name
            return
    flags["calibration"] = CALIBRATION
    notes.append(f"{CALIBRATION} stands for the calibration of the scan ({printable(str(source))}).")


def _references(row: Row, flags: dict[str, Any], notes: list[str]) -> None:
    asked = row["settings"].get("references")
    if not isinstance(asked, Mapping):
        return
    shipped = [name for name in references.SHIPPED if asked.get("digest") == _shipped_digest(name)]
    flags["references"] = shipped[0] if shipped else REFERENCES
    if not shipped:
        against = compared(row)
        source = "" if against is None else f" ({against.source})"
        notes.append(f"{REFERENCES} stands for the reference models of the scan{source}.")
    if asked.get("fpr", _FPR) != _FPR:
        flags["fpr"] = asked["fpr"]


def _planes(settings: Any, flags: dict[str, Any], notes: list[str]) -> None:
    if not isinstance(settings, Mapping):
        return
    for flag in _FLAGS_OF_PLANES:
        default = getattr(PlanesOptions, flag)
        if settings.get(flag, default) != default:
            flags[flag] = settings[flag]
    sampling = settings.get("sampling", _SCAN_SAMPLING)
    if sampling in SAMPLINGS and sampling != _SCAN_SAMPLING:
        flags["sampling"] = sampling
    # Rows of earlier versions.
    gone = {
        "--planes=auto": settings.get("max_queries") is not None,
        f"--sampling={printable(str(sampling))}": sampling not in SAMPLINGS,
    }
    notes.extend(f"The scan ran with {way}, which is gone: the numbers may differ." for way, ran in gone.items() if ran)


def _probe(settings: Any, flags: dict[str, Any], notes: list[str], calibration: Any) -> None:
    if not isinstance(settings, Mapping):
        return
    if settings.get("queries", ProbeOptions.queries) != ProbeOptions.queries:
        flags["probe_queries"] = settings["queries"]
    # Rows of before there was a race do not say it.
    if settings.get("search", "full") != ProbeOptions.search:
        flags["probe_search"] = "full"
    null = settings.get("null")
    theirs = calibration.get("probe_null") if isinstance(calibration, Mapping) else None
    # What it was searched with is no setting of a scan.
    own = isinstance(theirs, Mapping) and {k: v for k, v in theirs.items() if k != "search"} == null
    if isinstance(null, Mapping) and null.get("source") != "default" and not own:
        flags["probe_null"] = NULL
        notes.append(f"{NULL} stands for what the probe finds on clean models ({printable(str(null.get('source')))}).")
