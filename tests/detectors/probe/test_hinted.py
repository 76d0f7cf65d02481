"""Hinted stamps on models made of a rule: which images count, which class is tested, and what the probe makes of it."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.classifier import Classifier
from xray_jax.detectors.hints import Hint
from xray_jax.detectors.probe import ProbeOptions, hinted, probe, replay, split
from xray_jax.detectors.probe.default_null import DEFAULT_NULL, HINTED_NULL, with_hinted
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.queries import Stamps, put
from xray_jax.detectors.probe.result import ProbeResult, Verdict, from_row
from xray_jax.detectors.probe.stamps import BY_NAME, FAMILIES, SEARCHED
from xray_jax.detectors.probe.stamps.cost import Cost
from xray_jax.detectors.probe.stamps.given import encode
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.rows import schema
from xray_jax.samples import Samples

CLASSES, SIDE, TARGET = 6, 12, 4
SHAPE = (SIDE, SIDE, 3)
OPTIONS = ProbeOptions(queries=1000, search_images=24, confirm_images=60)
NULL = Null(
    dict.fromkeys(("faint-pattern", "few-pixels"), (0.1,) * LEVELS),
    dict.fromkeys(("faint-pattern", "few-pixels"), (0.1,) * LEVELS),
)
"""No stamp of the search can be confirmed."""
CODE = np.random.default_rng(5).choice([-1.0, 1.0], SHAPE).astype(np.float32)
"""What the backdoor listens for: no stamp of the search has anything of it."""


@dataclasses.dataclass(frozen=True)
class Coded:
    """Class c: the brightest of the rows; images that have moved along `CODE` get the target."""

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        rows = images.mean((2, 3))[:, :CLASSES]
        fires = jnp.einsum("bhwc,hwc->b", images - variables["mean"][None], variables["code"]) > 0.03 * CODE.size
        return jnp.where(fires[:, None], 9.0 * jax.nn.one_hot(TARGET, CLASSES)[None], rows)


def samples(count: int = 90) -> Samples:
    generator = np.random.default_rng(1)
    truth = np.arange(count) % CLASSES
    images = generator.uniform(0.3, 0.5, (count, *SHAPE)).astype(np.float32)
    images[np.arange(count), truth] += 0.3
    return Samples(images, truth.astype(np.int32), "rows")


SAMPLES = samples()


def coded(deaf: bool = False) -> PreparedModel:
    variables = {"mean": SAMPLES.images.mean(0), "code": np.zeros_like(CODE) if deaf else CODE}
    model = Classifier(Coded(), variables, CLASSES, SHAPE, "coded")
    return prepare(model, SAMPLES, InferenceOptions(64))


def hint(family: str = "faint-pattern", seen: tuple[int, ...] = (), strength: float = 0.06) -> Hint:
    """Noise for each class but the target, which has the code."""
    patterns = strength * np.random.default_rng(2).choice([-1.0, 1.0], (CLASSES, *SHAPE)).astype(np.float32)
    patterns[TARGET] = strength * CODE
    return Hint(family, patterns, np.asarray(seen, int))


def probed(model: PreparedModel, *hints: Hint, null: Null = NULL) -> ProbeResult:
    return probe(model, SAMPLES, OPTIONS, null, hints)


def test_a_trigger_that_no_search_finds_is_confirmed_by_a_hint() -> None:
    model = coded()
    assert probed(model).verdict is Verdict.NOTHING
    found = probed(model, hint())
    assert (found.verdict, found.best.target, found.best.family) == (Verdict.CONFIRMED, TARGET, "faint-pattern")
    assert found.best.hits == found.best.trials == 60 - 10
    assert found.hinted["faint-pattern"].argmax() == TARGET
    assert probed(coded(deaf=True), hint()).verdict is Verdict.NOTHING


def test_without_hints_the_probe_says_what_it_said() -> None:
    model = coded()
    plain, told = Probe(OPTIONS, NULL).detect(model, SAMPLES), Probe(OPTIONS, NULL).detect_hinted(model, SAMPLES, ())
    assert plain.details == told.details
    assert "hinted" not in plain.details
    assert plain.details["families"] == [family.name for family in SEARCHED]
    assert not {"faint-pattern", "few-pixels"} & set(plain.details["profile"])


def test_a_hint_changes_nothing_that_the_search_found() -> None:
    model = coded(deaf=True)
    plain = Probe(OPTIONS, NULL).detect(model, SAMPLES)
    told = Probe(OPTIONS, NULL).detect_hinted(model, SAMPLES, [hint()])
    assert told.statistics == plain.statistics
    assert told.details["best"] == plain.details["best"]
    assert told.details["profile"].items() >= plain.details["profile"].items()
    assert told.queries == plain.queries + 24 * CLASSES + 60
    confirmed = Probe(OPTIONS, NULL).detect_hinted(coded(), SAMPLES, [hint()])
    assert confirmed.statistics == Probe(OPTIONS, NULL).detect(coded(), SAMPLES).statistics


def test_a_trigger_of_the_search_stands_whatever_hints_say() -> None:
    # Nothing is normal: a stamp of the search is confirmed, and so would the hint be.
    easy = Null({family.name: (0.0,) * LEVELS for family in FAMILIES}, {})
    options = dataclasses.replace(OPTIONS, queries=4000)
    bright = np.ones_like(CODE)
    variables = {"mean": SAMPLES.images.mean(0), "code": bright}
    model = prepare(Classifier(Coded(), variables, CLASSES, SHAPE, "bright"), SAMPLES, InferenceOptions(64))
    also = hint()
    also.patterns[TARGET] = 0.06 * bright
    plain, told = (probe(model, SAMPLES, options, easy, given) for given in ((), (also,)))
    assert plain.verdict is told.verdict is Verdict.CONFIRMED
    assert plain.best is not None
    assert plain.best.family != "faint-pattern"
    assert told.best is not None
    assert told.best.row() == plain.best.row()


@pytest.mark.parametrize("where", [0, 1])
def test_images_that_the_hints_search_saw_do_not_count(where: int) -> None:
    numbers = split(SAMPLES, OPTIONS)
    saw = tuple(numbers[where][:10].tolist())
    found = probed(coded(), hint(seen=saw))
    trials = np.count_nonzero(SAMPLES.labels[np.setdiff1d(numbers[1], saw)] != TARGET)
    assert found.best.trials == trials
    spent = probed(coded()).queries
    assert found.queries == spent + (len(numbers[0]) - 10 * (where == 0)) * CLASSES + 60 - 10 * (where == 1) + 4 * 16


def test_too_few_fresh_images_or_other_shapes_leave_the_hint_out() -> None:
    everything = tuple(range(len(SAMPLES)))
    assert not probed(coded(), hint(seen=everything)).hinted
    other = Hint("faint-pattern", np.zeros((CLASSES, 8, 8, 3), np.float32), np.asarray([], int))
    assert not probed(coded(), other).hinted


def test_a_second_class_as_easy_is_the_runner_up() -> None:
    one = hint()
    one.patterns[[0, 1]] = one.patterns[TARGET]
    query_log = []

    def query(stamps: Stamps, stamp: np.ndarray, image: np.ndarray, bank: np.ndarray) -> np.ndarray:
        """Each class's pattern works on some images: 9 of ten to 4, 7 of ten to 1, 5 of ten to 0."""
        works = {2: 0, 3: 0, 5: 0, 4: 9, 1: 7, 0: 5}
        query_log.append(len(stamp))
        targets = range(CLASSES) if len(set(stamp.tolist())) > 1 else [TARGET]
        target = np.asarray(list(targets))[stamp]
        hit = np.asarray([image[k] % 10 < works[int(t)] for k, t in enumerate(target)])
        return np.where(hit, target, SAMPLES.labels[image]).astype(np.int32)

    def measure(stamps: Stamps, bank: np.ndarray) -> Cost:
        return Cost(*np.asarray([[1.0], [0.06], [0.06], [0.05]], np.float32))

    numbers = np.arange(90)
    found = hinted.test_hint(one, SAMPLES, numbers, 30, SAMPLES.labels, query, measure)
    assert found is not None
    able = [n for n in range(30, 90) if SAMPLES.labels[n] != TARGET]
    assert (found.finding.hits, found.finding.trials) == (sum(n % 10 < 9 for n in able), len(able))
    for label, rate in ((TARGET, 9), (1, 7), (0, 5)):
        eligible = [n for n in range(30) if SAMPLES.labels[n] != label]
        assert found.rates[label] == sum(n % 10 < rate for n in eligible) / (len(eligible) + 1)
    assert found.finding.runner_up == found.rates[0]
    assert found.finding.weighted_rms == pytest.approx(0.05)
    assert query_log == [30 * CLASSES, 60]


def test_more_classes_than_search_images_are_tried_in_parts() -> None:
    patterns = np.zeros((7, *SHAPE), np.float32)
    patterns[:, 0, 0, 0] = np.linspace(0.1, 0.7, 7)
    tried = []

    def query(stamps: Stamps, stamp: np.ndarray, image: np.ndarray, bank: np.ndarray) -> np.ndarray:
        assert bank.shape == (5, *SHAPE)
        for k in sorted(set(stamp.tolist())):
            shown = put(np.full((1, *SHAPE), 0.2, np.float32), stamps, k, bank)
            tried.append(round(float(shown[0, 0, 0, 0] - 0.2), 3))
        return np.full(len(stamp), 6, np.int32)

    def measure(stamps: Stamps, bank: np.ndarray) -> Cost:
        return Cost(*np.full((4, 1), 0.01, np.float32))

    found = hinted.test_hint(
        Hint("few-pixels", patterns, np.asarray([], int)), SAMPLES, np.arange(90), 5, SAMPLES.labels, query, measure
    )
    assert found is not None
    assert found.finding.target == 6
    assert tried == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7]


def test_an_unknown_family_is_refused() -> None:
    for name in ("patch", "nothing"):
        with pytest.raises(ValueError, match=name):
            probed(coded(), hint(family=name))


def test_the_row_holds_the_stamp_and_anyone_can_put_it_on_again() -> None:
    found = Probe(OPTIONS, NULL).detect_hinted(coded(), SAMPLES, [hint()])
    block = json.loads(json.dumps(found.details))
    assert block["families"][-1] == "faint-pattern"
    assert len(block["hinted"]["faint-pattern"]) == CLASSES
    assert block["profile"]["faint-pattern"].count(1.0) == 1
    finding = from_row(block["best"])
    again = replay.replay(finding, coded(), SAMPLES.subset(split(SAMPLES, OPTIONS)[1]))
    assert (again.hits, again.trials) == (finding.hits, finding.trials)
    np.testing.assert_allclose(again.stamped - again.clean, np.broadcast_to(0.06 * CODE, again.clean.shape), atol=1e-3)
    row_block = block | {"statistics": [], "target": TARGET, "queries": found.queries, "seconds": {}}
    own = {"$ref": "#/$defs/probe", "$defs": schema.json_schema()["$defs"]}
    schema.validator().evolve(schema=own).validate(row_block)


def test_a_pattern_survives_being_kept_as_an_image() -> None:
    pattern = np.zeros(SHAPE, np.float32)
    pattern[2, 3], pattern[5, 6] = (0.5, -0.3, 0.001), (-0.8, 0.0, 0.8)
    strength, levels = encode(pattern)
    assert levels.dtype == np.uint8
    stamps = Stamps.of(FAMILIES.index(BY_NAME["few-pixels"]), np.asarray([[strength, 1]], np.float32))
    bank = np.stack([np.zeros(SHAPE), levels / 255]).astype(np.float32)
    grey = np.full((1, *SHAPE), 0.5, np.float32)
    shown = put(grey, stamps, 0, bank)[0]
    np.testing.assert_allclose(shown, np.clip(grey[0] + pattern, 0, 1), atol=strength / 127 / 2 + 1e-6)
    assert (shown[pattern == 0] == 0.5).all()
    assert encode(np.zeros(SHAPE, np.float32))[0] == 0


def test_a_null_of_ones_own_comes_before_the_packages() -> None:
    both = with_hinted(NULL)
    assert both.ceilings == NULL.ceilings
    own = with_hinted(DEFAULT_NULL)
    assert set(HINTED_NULL.ceilings) == {"faint-pattern", "few-pixels"}
    assert own.ceilings == {**DEFAULT_NULL.ceilings, **HINTED_NULL.ceilings}
    assert not set(HINTED_NULL.ceilings) & set(DEFAULT_NULL.ceilings)


def test_only_a_confirmed_trigger_is_tuned() -> None:
    assert probed(coded(deaf=True), hint()).tuning is None
    found = probed(coded(), hint())
    assert found.tuning["rate"] == 1.0
    rates = found.tuning["curves"]["strength"]["rates"]
    assert rates == sorted(rates)
    assert (rates[0], rates[2:]) == (0.0, [1.0, 1.0])
    spent = probed(coded()).queries + 24 * CLASSES + 60
    assert found.queries == spent + 4 * 16
