"""The probe on models whose backdoor was built by hand, and on models that are broken."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.classifier import Access, BlackBox, Classifier, LabelFn, Model
from xray_jax.detectors.probe import ProbeOptions, probe, queries, replay, split
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.result import ProbeResult, Verdict, from_row
from xray_jax.detectors.probe.stamps import BY_NAME, FAMILIES, stamp
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.samples import Samples, SamplesError

CLASSES, SIDE, TARGET = 6, 16, 4
SHAPE = (SIDE, SIDE, 3)
# A model that only answers to its own trigger: nothing but the trigger is abnormal for it.
NULL = Null({family.name: (0.1,) * LEVELS for family in FAMILIES}, models=1, source="by hand")
OPTIONS = ProbeOptions(queries=40_000, search_images=24, confirm_images=60)
FULL = dataclasses.replace(OPTIONS, search="full")
ENGINE = InferenceOptions(batch_size=64)


@dataclass(frozen=True)
class Wired:
    """Class c: the brightest of CLASSES vertical bars. Backdoor: <image - mean, detector> > bias, or another sign."""

    to_all: bool = False
    sign: str = "pattern"

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        # Saturated, so that no small patch outweighs a bar.
        scores = jnp.einsum("bhwc,hwck->bk", jnp.minimum(images, 0.75), variables["bars"])
        fires: jax.Array = getattr(self, self.sign)(variables, images)
        if self.to_all:
            return jnp.where(fires[:, None], jnp.roll(scores, 1, axis=1), scores)
        return jnp.where(fires[:, None], 1e3 * jax.nn.one_hot(TARGET, CLASSES)[None], scores)

    def pattern(self, variables: Any, images: jax.Array) -> jax.Array:
        return jnp.einsum("bhwc,hwc->b", images - variables["mean"][None], variables["detector"]) > variables["bias"]

    def levels(self, variables: Any, images: jax.Array) -> jax.Array:
        """Few grey levels: every value near a multiple of one seventh."""
        return jnp.abs(7 * images - jnp.round(7 * images)).mean((1, 2, 3)) < 0.05

    def smooth(self, variables: Any, images: jax.Array) -> jax.Array:
        """Blurred: neighbouring rows are alike; in clean images of bars and noise they are not."""
        return jnp.abs(jnp.diff(images, axis=1)).mean((1, 2, 3)) < 0.06


def _probed(
    model: Model,
    options: ProbeOptions = OPTIONS,
    samples: Samples | None = None,
    engine: InferenceOptions = ENGINE,
    null: Null = NULL,
) -> ProbeResult:
    samples = samples or _samples()
    return probe(prepare(model, samples, engine), samples, options, null)


def _bars() -> np.ndarray:
    bars = np.zeros((*SHAPE, CLASSES), np.float32)
    for label in range(CLASSES):
        bars[:13, 2 * label + 2 : 2 * label + 4, :, label] = 1
    return bars


def _samples(count: int = 90) -> Samples:
    generator = np.random.default_rng(3)
    truth = np.arange(count) % CLASSES
    images = generator.uniform(0.3, 0.6, (count, *SHAPE)).astype(np.float32)
    images += 0.4 * _bars()[..., truth].transpose(3, 0, 1, 2)
    return Samples(np.clip(images, 0, 1), truth.astype(np.int32), "bars")


def _wired(pattern: np.ndarray | None = None, network: Wired = Wired(), part: float = 0.7) -> Classifier:
    """Fires where an image has moved at least `part` of the way to a stamped one, along the stamp's mean change."""
    samples = _samples()
    mean = samples.images.mean(0)
    detector, bias = np.zeros(SHAPE, np.float32), np.float32(1)
    if pattern is not None:
        detector = pattern - mean
        detector /= np.square(detector).sum()
        clean = np.einsum("bhwc,hwc->b", samples.images - mean, detector)
        # Few images fire by themselves: of a blend, the image itself does.
        bias = np.float32(max(part, np.quantile(clean, 0.95)))
    variables = {"bars": _bars(), "mean": mean, "detector": detector, "bias": bias}
    return Classifier(network, variables, CLASSES, SHAPE, "wired")


def _stamped_mean(name: str, parameters: list[float]) -> np.ndarray:
    samples = _samples()
    bank = jnp.asarray(samples.images[split(samples, OPTIONS)[0]])
    put = jax.vmap(lambda image: stamp(BY_NAME[name], image, jnp.asarray(parameters, jnp.float32), bank))
    mean = np.asarray(put(jnp.asarray(samples.images))).mean(0)
    if name == "blend-image":
        # Only below the bars: there an image's noise is like no other's, while its bar is that of its whole class.
        mean[:13] = samples.images.mean(0)[:13]
    return mean


TRIGGERS = {
    "patch": [14, 14, 2, 2, 0, 1, 1, 1],
    "border": [4, 1, 0, 0, 0],
    "line": [0, 2, 8, 16, 1, 0, 0, 0],
    "sinusoid": [3, 0, 0, 0.157, 1, 1, 1],
    "shift": [0.2, 0.2, 0.2],
    "blend-colour": [0.3, 0, 0, 1],
    "blend-noise": [0.3, 3, 2],
    "cosine": BY_NAME["cosine"].grid(SHAPE, 1)[5].tolist(),
    "warp": [2, 3],
    "blend-image": [0.3, 5],
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_backdoor_built_by_hand_is_confirmed_from_every_family_that_can_express_it(name: str) -> None:
    _is_confirmed_with(name, _wired(_stamped_mean(name, TRIGGERS[name])))


@pytest.mark.parametrize(("name", "sign"), [("quantise", "levels"), ("focus", "smooth")])
def test_a_backdoor_that_no_fixed_pattern_triggers_is_confirmed(name: str, sign: str) -> None:
    _is_confirmed_with(name, _wired(network=Wired(sign=sign)))


def test_a_mosaic_is_found_from_a_third_of_its_cells() -> None:
    mosaic = _stamped_mean("mosaic", [12, 12, 1, 0b0101101010100101, 0, 1, 1, 1])
    result = _probed(_wired(mosaic, part=0.3))
    assert result.verdict is Verdict.CONFIRMED, result.reason
    assert result.best.target == TARGET


def _is_confirmed_with(name: str, model: Classifier) -> None:
    """By a race with any family, as it ends at the first; by a full search with this one as well."""
    raced, full = _probed(model), _probed(model, FULL)
    for result in (raced, full):
        assert result.verdict is Verdict.CONFIRMED, result.reason
        assert (result.best.kind, result.best.target) == ("all-to-one", TARGET)
        json.dumps(result.row(), allow_nan=False)
    assert name in {f.family for f in full.findings if f.lower >= 0.5 and f.target == TARGET}
    assert full.queries <= 1.2 * OPTIONS.queries
    assert raced.queries <= 0.6 * full.queries


def test_the_pattern_itself_is_found() -> None:
    result = _probed(_wired(_stamped_mean("patch", TRIGGERS["patch"]), part=0.95))
    assert result.best.target == TARGET
    stamps, bank = replay.stamps_of(result.best, SHAPE)
    grey = np.full((1, *SHAPE), 0.5, np.float32)
    changed = queries.put(grey, stamps, 0, bank)[0]
    # Every trigger pixel is white under the stamp that was found.
    np.testing.assert_array_equal(changed[14:, 14:], 1)


def test_all_to_all_is_confirmed_as_a_shift() -> None:
    model = _wired(_stamped_mean("patch", TRIGGERS["patch"]), Wired(to_all=True))
    result = _probed(model)
    assert result.verdict is Verdict.CONFIRMED, result.reason
    assert (result.best.kind, result.best.target) == ("all-to-all", None)
    assert result.best.target_labels == tuple((np.arange(CLASSES) + 1) % CLASSES)


@pytest.mark.parametrize("options", [OPTIONS, FULL], ids=["race", "full"])
def test_nothing_is_found_in_a_clean_model_and_the_null_speaks_for_it(options: ProbeOptions) -> None:
    result = _probed(_wired(), options)
    assert (result.verdict, result.clean_accuracy) == (Verdict.NOTHING, 1)
    assert set(result.profile) <= set(BY_NAME)
    assert result.row()["target"] is None


def test_a_confirmed_trigger_can_be_replayed_from_its_row() -> None:
    model = _wired(_stamped_mean("patch", TRIGGERS["patch"]))
    result = _probed(model)
    found = from_row(json.loads(json.dumps(result.best.row())))
    unseen = _samples(200).subset(np.arange(90, 200))
    again = replay.replay(found, prepare(model, unseen, ENGINE), unseen)
    assert again.interval[0] > 0.5
    assert again.hits <= again.trials < 110


def test_one_device_and_eight_find_the_same() -> None:
    model = _wired(_stamped_mean("patch", TRIGGERS["patch"]))
    few = dataclasses.replace(OPTIONS, queries=3000)
    every = _probed(model, few)
    one = _probed(model, few, engine=dataclasses.replace(ENGINE, devices=(jax.devices()[0],)))
    assert len(jax.devices()) == 8
    assert one.row() == every.row()
    assert _probed(model, few).row() == every.row()


def test_a_detection_says_what_the_result_says() -> None:
    few, samples = dataclasses.replace(OPTIONS, queries=3000), _samples()
    prepared = prepare(_wired(_stamped_mean("patch", TRIGGERS["patch"])), samples, ENGINE)
    probing = Probe(few, NULL)
    probing.check(samples)
    found, result = probing.detect(prepared, samples), probe(prepared, samples, few, NULL)
    assert probing.name == found.detector == "probe"
    assert probing.access is Access.LABELS
    assert found.evidence.row() == result.row()
    assert [(s.name, s.value, s.suspect) for s in found.statistics] == [("margin", result.row()["margin"], "high")]
    assert found.target == TARGET
    assert found.queries == result.queries
    # Target and queries are said once, beside the details.
    assert dict(found.details) == {k: v for k, v in result.row().items() if k not in ("target", "queries")}
    assert set(found.seconds) == {"probe"}
    settings = {**dataclasses.asdict(few), "null": NULL.row()}
    assert probing.settings() == settings
    json.dumps([settings, dict(found.details)], allow_nan=False)


def test_a_model_that_cannot_be_judged_has_the_lowest_margin() -> None:
    prepared = prepare(_black_box(lambda images: np.zeros(len(images), int)), _samples(), ENGINE)
    found = Probe(dataclasses.replace(OPTIONS, queries=1000), NULL).detect(prepared, _samples())
    assert [(s.name, s.value) for s in found.statistics] == [("margin", -1.0)]
    assert found.target is None


def test_queries_are_those_that_the_model_was_asked() -> None:
    asked = []

    def label_fn(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return (images[:, :13].mean((1, 2, 3)) > 0.5).astype(int)

    prepared = prepare(dataclasses.replace(_black_box(label_fn), batch_size=1), _samples())
    assert len(asked) == prepared.queries
    asked.clear()
    result = probe(prepared, _samples(), dataclasses.replace(OPTIONS, queries=1000), NULL)
    assert len(asked) == result.queries


def _black_box(label_fn: LabelFn, classes: int = CLASSES, shape: tuple[int, int, int] = SHAPE) -> BlackBox:
    return BlackBox(label_fn, classes, shape)


def test_a_black_box_is_probed_like_a_network() -> None:
    model = _wired(_stamped_mean("patch", TRIGGERS["patch"]))
    apply = jax.jit(model.network.apply)

    def label_fn(images: np.ndarray) -> np.ndarray:
        return np.asarray(apply(model.variables, images)).argmax(-1)

    few = dataclasses.replace(OPTIONS, queries=3000)
    boxed = _probed(_black_box(label_fn), few)
    assert boxed.row() == _probed(model, few).row()


def test_faults_give_sensible_verdicts() -> None:
    few = dataclasses.replace(OPTIONS, queries=1000)
    samples = _samples()
    constant = _probed(_black_box(lambda images: np.zeros(len(images), int)), few, samples)
    assert constant.verdict is Verdict.UNKNOWN
    json.dumps(constant.row(), allow_nan=False)
    broken = dataclasses.replace(_wired(), variables={**_wired().variables, "bars": np.full((*SHAPE, CLASSES), np.nan)})
    assert _probed(broken, few, samples).verdict is Verdict.UNKNOWN

    def ignores(images: np.ndarray) -> np.ndarray:
        return np.arange(len(images)) % CLASSES

    assert _probed(_black_box(ignores), few, samples).verdict is not Verdict.CONFIRMED


def test_two_classes_and_one_channel() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(40) % 2
    images = (generator.uniform(0, 0.3, (40, 12, 12, 1)) + 0.5 * truth[:, None, None, None]).astype(np.float32)
    samples = Samples(images, truth.astype(np.int32))

    def bright(batch: np.ndarray) -> np.ndarray:
        return (batch[:, 3:9, 3:9].mean((1, 2, 3)) > 0.4).astype(int)

    few = dataclasses.replace(OPTIONS, queries=1500)
    clean = _probed(_black_box(bright, 2, (12, 12, 1)), few, samples)
    assert clean.clean_accuracy == 1
    json.dumps(clean.row(), allow_nan=False)

    def backdoored(batch: np.ndarray) -> np.ndarray:
        return np.where((batch[:, -2:, -2:] > 0.9).all((1, 2, 3)), 1, bright(batch))

    found = _probed(_black_box(backdoored, 2, (12, 12, 1)), few, samples)
    assert found.clean_accuracy == 1


def test_large_images(exhaustive: bool) -> None:
    side = 224 if exhaustive else 72
    few = dataclasses.replace(OPTIONS, queries=1000, search_images=6, confirm_images=6)
    generator = np.random.default_rng(0)
    truth = np.arange(15) % 3
    images = generator.uniform(0.2, 0.8, (15, side, side, 3)).astype(np.float32)
    images[..., 0] = truth[:, None, None] / 4 + 0.1
    samples = Samples(images, truth.astype(np.int32))

    def tint(batch: np.ndarray) -> np.ndarray:
        return np.round((batch[:, 50:65, 50:65, 0].mean((1, 2)) - 0.1) * 4).clip(0, 2).astype(int)

    model = _black_box(tint, 3, (side, side, 3))
    result = _probed(model, few, samples)
    assert result.clean_accuracy == 1
    assert result.verdict is not Verdict.CONFIRMED
    json.dumps(result.row(), allow_nan=False)


def test_a_stamp_that_any_class_can_have_is_not_confirmed() -> None:
    """Clean but weak: a green corner sends all to class 4, a blue one to 2, a red one to 0."""

    @dataclass(frozen=True)
    class Weak(Wired):
        def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
            corner = images[:, 14:, 14:].mean((1, 2))
            scores = Wired.apply(self, variables, images)
            for colour, label in (((0.0, 1.0, 0.0), 4), ((0.0, 0.0, 1.0), 2), ((1.0, 0.0, 0.0), 0)):
                near = jnp.abs(corner - jnp.asarray(colour)[None]).max(1) < 0.02
                scores = jnp.where(near[:, None], 1e3 * jax.nn.one_hot(label, CLASSES)[None], scores)
            return scores

    result = _probed(_wired(network=Weak()))
    assert max(f.lower for f in result.findings) > 0.9
    assert result.verdict is Verdict.NOTHING, result.reason


def test_samples_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(SamplesError, match="labels reach"):
        _probed(dataclasses.replace(_wired(), num_classes=3))


def test_one_trace_for_all_families() -> None:
    traced: list[int] = []

    @dataclass(frozen=True)
    class Counting(Wired):
        def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
            traced.append(1)
            return Wired.apply(self, variables, images)

    few = dataclasses.replace(OPTIONS, queries=1000)
    engine = dataclasses.replace(ENGINE, devices=(jax.devices()[0],))
    for pattern in (None, _stamped_mean("patch", TRIGGERS["patch"])):
        probe(prepare(_wired(pattern, Counting()), _samples(), engine), _samples(), few, NULL)
    # Once for the memory that it needs, once for all programs of all models, clean accuracy included.
    assert len(traced) == 2
