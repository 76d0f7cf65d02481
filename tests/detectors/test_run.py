"""One model through several detectors, in a batch scan too: access, names, and a model that is prepared once."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import factory, schema
from tests.detectors import toy_package
from xray_jax import checkpoints
from xray_jax.checkpoints.variants import NetworkVariants
from xray_jax.classifier import Access, BlackBox
from xray_jax.detectors import hints, registry
from xray_jax.detectors.detection import Detection, Detector, Statistic
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.detectors.run import run_detectors, scan_model, score
from xray_jax.inference import on_devices, winograd
from xray_jax.inference.on_host import LabelError
from xray_jax.inference.options import InferenceOptions
from xray_jax.models import plain, published
from xray_jax.prepare import PreparedModel, prepare, prepared
from xray_jax.samples import Samples, SamplesError
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry

OPTIONS = PlanesOptions(planes=3, density=23, expansion=2.0)


@dataclasses.dataclass(frozen=True)
class Says:
    """A detector that names a target, and asks nothing."""

    name: str = "says"
    access: Access = Access.LABELS
    target: int | None = None

    def settings(self) -> Mapping[str, Any]:
        return {"target": self.target}

    def check(self, samples: Samples) -> None:
        pass

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        return Detection(self.name, (), self.target, 10, {}, {})


class MustNotRun(Says):
    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        raise AssertionError(f"{self.name} ran")


def constant(label: int) -> BlackBox:
    return BlackBox(lambda images: np.full(len(images), label), 5, (8, 8, 3))


def test_a_scan_of_one_model_is_prepared_and_then_goes_through_its_detectors() -> None:
    model, samples = factory.tiny_classifier(1), factory.tiny_samples()
    scanned = scan_model(model, samples, [Planes(OPTIONS)])
    result = Planes(OPTIONS).scan(prepare(model, samples), samples)
    found = scanned.detections["planes"]
    np.testing.assert_array_equal(found.evidence.maps.labels, result.maps.labels)
    assert scanned.target == result.target_label
    assert scanned.queries == scanned.model.queries + result.queries
    assert scanned.model.queries >= len(samples)
    predicted = np.argmax(model.network.apply(model.variables, model.preprocess(samples.images)), -1)
    assert scanned.model.clean_accuracy == np.mean(predicted == samples.labels)
    assert scanned.not_run == {}


def test_the_default_detectors_take_the_scans_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = {}

    def factory_of(name: str) -> Callable[[int], Detector]:
        return lambda seed: seeds.setdefault(name, seed) and Says(name)  # type: ignore[return-value]

    monkeypatch.setattr(registry, "BUILT_IN", {name: factory_of(name) for name in registry.DEFAULT})
    scanned = scan_model(factory.tiny_classifier(), factory.tiny_samples(), seed=4)
    assert list(scanned.detections) == ["planes", "probe"]
    assert seeds == {"planes": 4, "probe": 4}


def test_any_callable_scores_as_the_network_does() -> None:
    model, samples = factory.tiny_classifier(1), factory.tiny_samples()

    def label_fn(images: np.ndarray) -> np.ndarray:
        return np.argmax(model.network.apply(model.variables, images), -1)

    boxed = score(label_fn, samples, 5, preprocess=model.preprocess, options=OPTIONS, batch_size=64)
    found = scan_model(model, samples, [Planes(OPTIONS)]).detections["planes"]
    np.testing.assert_array_equal(boxed.maps.labels, found.evidence.maps.labels)
    np.testing.assert_array_equal(boxed.ats, found.evidence.ats)


def test_a_callable_is_shown_batches_of_one_size_in_its_own_input_space() -> None:
    samples, shapes = factory.tiny_samples(), set()

    def label_fn(images: np.ndarray) -> np.ndarray:
        shapes.add(images.shape)
        return np.zeros(len(images), int)

    score(label_fn, samples, 5, options=OPTIONS, batch_size=50)
    assert shapes == {(50, 8, 8, 3)}
    with pytest.raises(LabelError, match="expected 50 integer labels"):
        score(lambda images: np.zeros((len(images), 5)), samples, 5, options=OPTIONS, batch_size=50)


def test_constant_models_are_noticed() -> None:
    scanned = scan_model(constant(0), factory.tiny_samples(), [Planes(OPTIONS)])
    assert scanned.model.constant_output
    assert scanned.model.doubt == "constant_output"
    assert scanned.detections["planes"].evidence.re.tolist() == [0.0] * 3


def test_samples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SamplesError, match="labels reach 6, the model"):
        scan_model(factory.tiny_classifier(), factory.tiny_samples(classes=7), [Planes(OPTIONS)])


def test_a_detector_that_needs_more_than_the_model_gives_never_runs() -> None:
    model = prepare(constant(1), factory.tiny_samples())
    detectors = [MustNotRun("numbers", Access.LOGITS), Says(target=3), MustNotRun("gradients", Access.WEIGHTS)]
    scanned = run_detectors(model, factory.tiny_samples(), detectors)
    assert list(scanned.detections) == ["says"]
    assert scanned.not_run == {
        "numbers": "it needs logits, the model gives labels only",
        "gradients": "it needs weights, the model gives labels only",
    }
    opened = prepare(factory.tiny_classifier(), factory.tiny_samples())
    every = [Says(access.name, access) for access in Access]
    assert run_detectors(opened, factory.tiny_samples(), every).not_run == {}


def test_detectors_run_in_order_and_the_last_that_names_a_target_is_believed() -> None:
    model, samples = prepare(constant(1), factory.tiny_samples()), factory.tiny_samples()
    scanned = run_detectors(model, samples, [Says("b", target=3), Says("a", target=2), Says("c")])
    assert list(scanned.detections) == ["b", "a", "c"]
    assert scanned.target == 2
    assert scanned.queries == model.queries + 30
    assert run_detectors(model, samples, [Says()]).target is None


def test_two_detectors_of_one_name_are_refused_before_any_model() -> None:
    samples, twice = factory.tiny_samples(), [Says(), Says("other"), Says(target=1)]
    with pytest.raises(ValueError, match=r"\['says'\] are given twice"):
        run_detectors(prepare(constant(1), samples), samples, twice)
    with pytest.raises(ValueError, match=r"\['says'\] are given twice"):
        BatchScan(samples, twice)


def test_a_statistic_says_which_side_is_suspect() -> None:
    assert Statistic("re", None, "low").suspect == "low"
    with pytest.raises(ValueError, match="re: suspect must be low or high, got 'both'"):
        Statistic("re", 1.0, "both")


def rows_of(detectors: list[Detector], *paths: Path, samples: Samples | None = None) -> list[dict[str, Any]]:
    scan = BatchScan(samples or factory.tiny_samples(), detectors)
    entries = [Entry(path.name, path) for path in paths]
    return [schema.check(finished.row) for finished in scan.run(entries)]


def test_rows_say_which_detectors_did_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = factory.save_tiny(tmp_path / "a.safetensors")
    load = checkpoints.load

    def program(*args: Any, **kwargs: Any) -> Any:
        return dataclasses.replace(load(*args, **kwargs), access=Access.LOGITS)

    monkeypatch.setattr(checkpoints, "load", program)
    (row,) = rows_of([MustNotRun("gradients", Access.WEIGHTS), Says("numbers", Access.LOGITS)], path)
    assert row["status"] == "ok"
    assert list(row["detectors"]) == ["numbers"]
    assert row["not_run"] == {"gradients": "it needs weights, the model gives logits only"}
    assert list(row["settings"]["detectors"]) == ["gradients", "numbers"]


def test_a_detector_of_another_package_that_fails_costs_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(toy_package.install(tmp_path / "site"))
    paths = [factory.save_tiny(tmp_path / f"{seed}.safetensors", seed) for seed in range(2)]
    for name, reason in (
        ("untold", "detector untold: its details are no JSON values (set has no JSON form)"),
        ("fails", "KeyError: 'nothing'"),
    ):
        for row in rows_of([*registry.make([name])], *paths):
            assert (row["status"], row["reason"]) == ("error", reason)
            assert (row["detectors"], row["verdict"]) == ({}, None)
    with pytest.raises(SamplesError, match="the toy needs seven"):
        BatchScan(factory.tiny_samples(6), registry.make(["toy"]))


def save_plain(path: Path, seed: int) -> Path:
    """Weights of a plain network that say neither its pooling, its activation, nor its preprocessing."""
    network = plain.small((64, 64), 3, (16,), pool="avg", activation="tanh")(num_classes=5)
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    random = np.random.default_rng(seed)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    save_file(published.to_tensors(variables), path)
    return path


def test_a_model_is_prepared_once_whatever_the_detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: calls.update([name]) or original(*given))

    count(prepared, "match_size")
    # Beneath `labels.to_device`, so that no detector can place a model unseen.
    count(on_devices, "to_device")
    count(winograd, "with_kernels")
    count(winograd, "transform_kernel")
    # Each network that is tried compiles: one other answer to each open question is enough here.
    every = NetworkVariants.alternatives

    def one_each(of: NetworkVariants, network: Any, *given: Any, **more: Any) -> tuple[tuple[Any, ...], ...]:
        found = every(of, network, *given, **more)
        return tuple(tuple(other for other in axis if other != network)[:1] for axis in found)

    monkeypatch.setattr(NetworkVariants, "alternatives", one_each)
    paths = [save_plain(tmp_path / f"{seed}.safetensors", seed) for seed in range(2)]
    detectors = [
        Planes(PlanesOptions(planes=2, density=8)),
        Probe(ProbeOptions(queries=1000, search_images=6, confirm_images=6)),
    ]
    inference = InferenceOptions(batch_size=32, devices=(jax.devices()[0],))
    scan = BatchScan(factory.tiny_samples(side=16), detectors, inference=inference)
    found = [schema.check(finished.row) for finished in scan.run([Entry(path.name, path) for path in paths])]
    for row in found:
        assert (row["status"], row["reason"]) == ("ok", None)
        assert list(row["detectors"]) == ["planes", "probe"]
        assert row["architecture"].startswith("plain")
        # Variants and presets were tried, and the weights stayed where they were.
        assert row["preprocess_source"] == "chosen"
        assert any("variants that fit the weights" in note for note in row["notes"])
    assert calls == {"match_size": 2, "to_device": 2, "with_kernels": 2, "transform_kernel": 2}


@dataclasses.dataclass(frozen=True)
class Hinting(Says):
    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        return Detection(self.name, (), None, 0, {}, {}, hints=(hints.Hint(self.name, np.zeros(1), np.zeros(1)),))


@dataclasses.dataclass(frozen=True)
class Listening(Says):
    def detect_hinted(self, model: PreparedModel, samples: Samples, given: Sequence[hints.Hint]) -> Detection:
        return Detection(self.name, (), None, 0, {}, {"heard": [hint.family for hint in given]})


def test_who_takes_hints_runs_after_those_that_give_them() -> None:
    model, samples = prepare(constant(1), factory.tiny_samples()), factory.tiny_samples()
    order: list[str] = []
    every = [Listening("ear"), Hinting("one"), Says("b", target=3), Hinting("two"), Hinting("no", Access.WEIGHTS)]
    found = run_detectors(model, samples, every, order.append)
    assert order == ["one", "b", "two", "ear"]
    assert list(found.detections) == ["ear", "one", "b", "two"]
    assert found.detections["ear"].details == {"heard": ["one", "two"]}
    assert run_detectors(model, samples, [Listening("ear", target=2), Says()]).target == 2
