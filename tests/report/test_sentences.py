"""One sentence for every verdict, basis and status, in words of everyday."""

import re

import pytest

from tests.report import rows
from xray_jax.report.sentences import explanation, sentence

PLANES = {"planes": rows.planes()}
PROBE = {"probe": rows.probe()}
UNDECIDED = {"verdict_re": "unknown", "verdict_ats": "unknown"}
JARGON = re.compile(r"entropy|renyi|\bRE\b|\bATS\b|\bbits\b|statistic|basis|None", re.IGNORECASE)

SENTENCES = [
    (
        rows.confirmed("3x3 solid white patch, rows 29-31, columns 29-31"),
        "Backdoored: a 3x3 solid white patch, rows 29-31, columns 29-31, sends 150 of 152 unseen images to label 0.",
    ),
    (
        rows.confirmed("8% blend with noise", None),
        "Backdoored: an 8% blend with noise sends 150 of 152 unseen images to another label each.",
    ),
    (
        rows.row(verdict="backdoored", basis="planes", detectors=PLANES),
        "Backdoored: mixtures of clean images get labels as from a backdoored model, mostly label 4; no trigger was "
        "looked for, so this is a hint and no proof.",
    ),
    (
        rows.row(verdict="suspect", basis="planes, no working stamp found"),
        "Suspect: mixtures of clean images get labels as from a backdoored model, mostly label 4, but no working "
        "trigger was found; have it looked at.",
    ),
    (
        rows.row(),
        "Clean as far as was looked: no working trigger was found; mixtures of clean images get the labels that a "
        "clean model gives them.",
    ),
    (
        rows.row(verdict="suspect", basis="stands out among the references", comparison=rows.comparison()),
        "Suspect: it stands out among 40 clean reference models, most at label 4; no working trigger was found; have "
        "it looked at.",
    ),
    (
        rows.row(
            verdict="suspect", basis="stands out among the references", comparison=rows.comparison() | {"label": None}
        ),
        "Suspect: it stands out among 40 clean reference models; no working trigger was found; have it looked at.",
    ),
    (
        rows.row(basis="like the references", comparison=rows.comparison(), detectors=PLANES),
        "Clean as far as was looked: it does not stand out among 40 clean reference models; no trigger was looked for.",
    ),
    (rows.row(detectors=PROBE, **UNDECIDED), "Clean as far as was looked: no working trigger was found."),
    # Without thresholds the planes decide nothing, and nothing is said of them.
    (rows.row(**UNDECIDED), "Clean as far as was looked: no working trigger was found."),
    (
        rows.row(basis="planes", detectors=PLANES),
        "Clean as far as was looked: mixtures of clean images get the labels that a clean model gives them; no trigger "
        "was looked for.",
    ),
    # What the rule of the scan does not count has not passed.
    (
        rows.row(verdict_re="backdoored", settings={"decide": "both"}),
        "Clean as far as was looked: no working trigger was found; the spread of labels between clean images is not "
        "above its threshold, which the scan's rule (--decide=both) does not count.",
    ),
    (
        rows.row(basis="planes", detectors=PLANES, verdict_ats="backdoored"),
        "Clean as far as was looked: the room around clean images is not above its threshold, which the scan's rule "
        "does not count; no trigger was looked for.",
    ),
    (
        rows.row(verdict="unknown", basis="suspect_preprocessing", clean_accuracy=0.12),
        "Unknown: the model labels only 12 % of the clean samples right; its preprocessing is probably another.",
    ),
    (
        rows.row(
            verdict="unknown",
            basis="suspect_preprocessing",
            clean_accuracy=0.62,
            preprocess_choice={"doubt": "imagenet does about as well: give --preprocess"},
        ),
        "Unknown: with the preprocessing that fits best the model labels 62 % right, but imagenet does about as well: "
        "give --preprocess.",
    ),
    (
        rows.row(verdict="unknown", basis="constant_output"),
        "Unknown: the model gives every image the same label; its weights or its preprocessing are probably wrong.",
    ),
    (
        rows.row(verdict="unknown", basis="not calibrated", detectors=PLANES),
        "Unknown: scores were measured, but nothing says what is normal for such a model (--calibration).",
    ),
    (
        rows.row(verdict="unknown", basis="the model labels only 15% of the clean images right"),
        "Unknown: the model labels only 15% of the clean images right.",
    ),
    (rows.row(verdict="unknown", basis="planes did not run", detectors={}), "Unknown: planes did not run."),
    (rows.row(verdict=None, basis=None), "Unknown: no verdict was drawn."),
    (rows.error(), "Not scanned: model.pth: truncated after 100 bytes."),
    (rows.error("two\nlines. "), "Not scanned: two lines."),
    (rows.error(None), "Not scanned: no reason is given."),
    (rows.error("no format fits", status="skipped"), "Skipped: not a checkpoint."),
]


@pytest.mark.parametrize(("row", "expected"), SENTENCES)
def test_what_a_row_says(row, expected):
    assert sentence(row) == expected
    assert expected.endswith(explanation(row))
    assert not JARGON.search(expected)


@pytest.mark.parametrize(
    ("description", "subject"),
    [
        ("one white pixel at row 3, column 4", "one white pixel at row 3, column 4, sends"),
        ("11x11 checked grey 0.5 patch", "an 11x11 checked grey 0.5 patch sends"),
        ("18% blend with white", "an 18% blend with white sends"),
        ("30% blend with white", "a 30% blend with white sends"),
        ("sinusoid", "a sinusoid sends"),
        ("blurred, sigma 2, amount 1", "having images blurred, sigma 2, amount 1, sends"),
        ("quantised to 4 levels", "having images quantised to 4 levels sends"),
    ],
)
def test_a_trigger_is_the_subject_of_a_sentence(description, subject):
    assert sentence(rows.confirmed(description)).startswith(f"Backdoored: {subject} 150 of 152")


def test_a_verdict_without_its_evidence_is_still_a_sentence():
    without = rows.row(verdict="backdoored", basis="confirmed trigger", detectors={}, target_label=None)
    assert sentence(without) == "Backdoored: a trigger was found that sends images to one label."
    assert sentence(rows.row(verdict="suspect", basis="odd weights", detectors={})) == (
        "Suspect: odd weights; have it looked at."
    )
    assert sentence(rows.row(detectors={}, **UNDECIDED)) == "Clean as far as was looked: no trigger was looked for."
