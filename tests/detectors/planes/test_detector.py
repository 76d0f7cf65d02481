"""The planes of one model, against the whole method written out in float64 NumPy."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from tests import factory
from xray_jax.classifier import Access, BlackBox, Classifier
from xray_jax.detectors.planes import detector
from xray_jax.detectors.planes.detector import Planes, PlanesResult
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, SamplesError, from_arrays

OPTIONS = PlanesOptions(planes=3, density=23, expansion=2.0)


def reference_maps(
    model: Classifier, samples: Samples, options: PlanesOptions, triplets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels `[N, S, S]` in float64 NumPy, one plane at a time, and the samples' nodes `[N, 3, 2]`."""
    maps, nodes = [], []
    for triplet in triplets:
        x1, x2, x3 = np.asarray(model.preprocess(samples.images[triplet]), np.float64).reshape(3, -1)
        e1 = (x2 - x1) / np.linalg.norm(x2 - x1)
        rest = (x3 - x1) - ((x3 - x1) @ e1) * e1
        e2 = rest / np.linalg.norm(rest)
        corners = np.array([[0, 0], [(x2 - x1) @ e1, 0], [(x3 - x1) @ e1, (x3 - x1) @ e2]])
        low, high = corners.min(0), corners.max(0)
        grow = options.expansion * (high - low)
        axes = [np.linspace(low[k] - grow[k], high[k] + grow[k], options.density) for k in range(2)]
        u, v = np.meshgrid(*axes, indexing="ij")
        points = x1 + u[..., None] * e1 + v[..., None] * e2
        images = points.reshape(-1, *samples.images.shape[1:]).astype(np.float32)
        maps.append(np.argmax(model.network.apply(model.variables, images), -1).reshape(u.shape))
        nodes.append([[np.abs(axes[k] - corner[k]).argmin() for k in range(2)] for corner in corners])
    return np.array(maps), np.array(nodes)


def reference_scores(
    maps: np.ndarray, nodes: np.ndarray, sample_labels: np.ndarray, options: PlanesOptions
) -> tuple[np.ndarray, np.ndarray]:
    """RE and ATS of label maps, one plane at a time."""
    entropies, areas = [], []
    for labels, places, own in zip(maps, nodes, sample_labels, strict=True):
        shares = np.bincount(labels.ravel()) / labels.size
        entropies.append(np.log2(np.sum(shares**options.alpha)) / (1 - options.alpha))
        total = 0.0
        for (row, column), label in zip(places, own, strict=True):
            parts, _ = ndimage.label(labels == label, structure=np.ones((3, 3)))
            area = np.mean(parts == parts[row, column]) if parts[row, column] else 0.0
            total += area if area < options.ats_cap else 0.0
        areas.append(total)
    return np.array(entropies), np.array(areas)


def scan(model: Classifier | BlackBox, samples: Samples, options: PlanesOptions = OPTIONS) -> PlanesResult:
    return Planes(options).scan(prepare(model, samples), samples)


@pytest.mark.parametrize("seed", range(3))
def test_planes_match_the_reference(seed: int) -> None:
    model, samples = factory.tiny_classifier(seed), factory.tiny_samples()
    result = scan(model, samples)
    labels, nodes = reference_maps(model, samples, OPTIONS, result.maps.triplets)
    # A node on a border may fall to either side, so the scores are compared on one and the same map.
    assert np.mean(labels == result.maps.labels) >= 0.999
    np.testing.assert_array_equal(result.maps.sample_nodes, nodes)
    re, ats = reference_scores(result.maps.labels, nodes, samples.labels[result.maps.triplets], OPTIONS)
    np.testing.assert_allclose(result.re, re, atol=1e-6)
    np.testing.assert_allclose(result.ats, ats, atol=1e-6)
    assert result.queries == OPTIONS.planes * OPTIONS.density**2
    assert result.distribution.sum() == pytest.approx(1)
    shares = np.bincount(result.maps.labels.ravel(), minlength=5) / result.maps.labels.size
    np.testing.assert_allclose(result.distribution, shares, atol=1e-12)


def test_a_detection_says_what_the_result_says() -> None:
    prepared, samples = prepare(factory.tiny_classifier(), factory.tiny_samples()), factory.tiny_samples()
    planes = Planes(OPTIONS)
    result, found = planes.scan(prepared, samples), planes.detect(prepared, samples)
    assert planes.name == found.detector == "planes"
    assert planes.access is Access.LABELS
    assert [(s.name, s.value, s.suspect) for s in found.statistics] == [
        ("re", result.re.mean(), "low"),
        ("ats", result.ats.mean(), "low"),
    ]
    assert found.target == result.target_label
    assert found.queries == result.queries
    assert found.details["re"]["per_plane"] == result.re.tolist()
    assert found.details["ats"]["std"] == pytest.approx(result.ats.std(ddof=1))
    assert found.details["planes"] == OPTIONS.planes
    assert found.details["sampling"] == "grid"
    np.testing.assert_allclose(found.details["label_distribution"], result.distribution, atol=1e-6)
    np.testing.assert_array_equal(found.evidence.maps.labels, result.maps.labels)
    assert set(found.seconds) == {"labels", "scores"}
    json.dumps([found.details, dict(planes.settings())], allow_nan=False)
    assert planes.settings() == dataclasses.asdict(OPTIONS)


def test_scores_can_be_recomputed_from_saved_maps(tmp_path) -> None:
    result = scan(factory.tiny_classifier(), factory.tiny_samples())
    path = tmp_path / "ünï cödé.npz"
    result.maps.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    re, ats, counts = detector.scores(LabelMaps.load(path), OPTIONS, 5)
    np.testing.assert_array_equal(re, result.re)
    np.testing.assert_array_equal(ats, result.ats)
    np.testing.assert_array_equal(counts, result.counts)


def test_a_black_box_scores_as_the_network_does() -> None:
    model, samples = factory.tiny_classifier(1), factory.tiny_samples()

    def label_fn(images: np.ndarray) -> np.ndarray:
        return np.argmax(model.network.apply(model.variables, images), -1)

    box = BlackBox(label_fn, 5, model.input_shape, preprocess=model.preprocess, batch_size=64)
    boxed, result = scan(box, samples), scan(model, samples)
    np.testing.assert_array_equal(boxed.maps.labels, result.maps.labels)
    np.testing.assert_array_equal(boxed.ats, result.ats)


def test_planes_are_laid_once_for_models_that_share_samples_and_preprocessing(monkeypatch) -> None:
    laid = []
    lay = detector.lay_planes
    monkeypatch.setattr(detector, "lay_planes", lambda *given: laid.append(given[2]) or lay(*given))
    samples, planes = factory.tiny_samples(), Planes(OPTIONS)
    first = planes.scan(prepare(factory.tiny_classifier(0), samples), samples)
    second = planes.scan(prepare(factory.tiny_classifier(1), samples), samples)
    assert laid == [parse("cifar10")]
    np.testing.assert_array_equal(first.maps.triplets, second.maps.triplets)
    other = dataclasses.replace(factory.tiny_classifier(), preprocess=parse("+-1"))
    planes.scan(prepare(other, samples), samples)
    assert laid == [parse("cifar10"), parse("+-1")]
    # Other samples: nothing that was laid through the first ones may be used.
    again = factory.tiny_samples(seed=5)
    fresh = planes.scan(prepare(factory.tiny_classifier(0), again), again)
    np.testing.assert_array_equal(fresh.maps.labels, scan(factory.tiny_classifier(0), again).maps.labels)
    assert len(laid) == 4


def test_planes_laid_for_samples_that_were_left_meanwhile_are_not_kept(monkeypatch) -> None:
    first, second, planes = factory.tiny_samples(), factory.tiny_samples(seed=5), Planes(OPTIONS)
    prepared = [prepare(factory.tiny_classifier(0), samples) for samples in (first, second)]
    lay = detector.lay_planes

    def other_thread(samples: Samples, *given) -> object:
        """While the first samples' planes are laid, another thread begins with the second samples."""
        if samples is first:
            planes.scan(dataclasses.replace(prepared[1], model=other), second)
        return lay(samples, *given)

    other = dataclasses.replace(prepared[1].model, preprocess=parse("+-1"))
    monkeypatch.setattr(detector, "lay_planes", other_thread)
    planes.scan(prepared[0], first)
    found, expected = planes.scan(prepared[1], second), scan(factory.tiny_classifier(0), second)
    np.testing.assert_array_equal(found.maps.axis1, expected.maps.axis1)
    np.testing.assert_array_equal(found.maps.labels, expected.maps.labels)


def test_samples_through_which_no_plane_can_be_laid_are_refused_before_any_model() -> None:
    Planes(OPTIONS).check(factory.tiny_samples())
    with pytest.raises(SamplesError, match="at least three classes, found 2"):
        Planes(OPTIONS).check(factory.tiny_samples(classes=2))


def test_samples_that_span_no_plane_after_the_preprocessing_are_refused() -> None:
    samples = factory.tiny_samples()
    grey = dataclasses.replace(samples, images=samples.images[..., :1])
    # Images of one pixel all lie on one line.
    dot = BlackBox(lambda images: np.zeros(len(images), int), 5, (1, 1, 1), preprocess=Preprocess(size=(1, 1)))
    with pytest.raises(SamplesError, match="span no plane after the preprocessing"):
        scan(dot, grey)


def test_constant_models_have_no_entropy() -> None:
    model = BlackBox(lambda images: np.zeros(len(images), int), 5, (8, 8, 3))
    result = scan(model, factory.tiny_samples())
    assert result.re.tolist() == [0.0] * 3
    assert result.target_label == 0
    assert result.distribution.tolist() == [1.0, 0, 0, 0, 0]


def waves() -> tuple[Samples, BlackBox]:
    """Noise, and labels that change smoothly over planes."""
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(60, 4, 4, 1)).astype(np.float32)
    weights = generator.normal(size=(16, 5)) * 3

    def label_fn(batch: np.ndarray) -> np.ndarray:
        return np.sin(batch.reshape(len(batch), -1) @ weights).argmax(-1)

    return from_arrays(images, np.arange(60) % 5), BlackBox(label_fn, 5, (4, 4, 1), batch_size=64)


def sampled(**options) -> PlanesResult:
    samples, model = waves()
    return scan(model, samples, PlanesOptions(expansion=1.0, **options))


def test_each_sampling_asks_for_as_much_as_it_says() -> None:
    grid = sampled(planes=4, density=40)
    refined = sampled(planes=4, density=40, sampling="refine")
    sketched = sampled(planes=4, density=40, sampling="sketch")
    assert grid.queries == 4 * 40 * 40
    assert 4 * 128 <= sketched.queries <= 4 * 131 < refined.queries < grid.queries
    assert (refined.maps.labels == grid.maps.labels).mean() > 0.98
    assert refined.maps.labels.dtype == grid.maps.labels.dtype == np.uint8
    np.testing.assert_array_equal(refined.counts.sum(1), 40 * 40)


def test_queries_are_those_that_the_model_was_asked() -> None:
    samples, model = waves()
    asked = []

    def counting(batch: np.ndarray) -> np.ndarray:
        asked.append(batch)
        return model.label_fn(batch)

    prepared = prepare(dataclasses.replace(model, label_fn=counting, batch_size=1), samples)
    assert len(asked) == prepared.queries
    asked.clear()
    for kind in ("grid", "refine", "sketch"):
        result = Planes(PlanesOptions(planes=2, density=12, expansion=1.0, sampling=kind)).scan(prepared, samples)
        assert len(asked) == result.queries
        asked.clear()
