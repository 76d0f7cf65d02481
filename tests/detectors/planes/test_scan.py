import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from tests import factory
from xray_jax.detectors.planes import scan
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.scan import PlanesOptions, Scanner
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import SamplesError

SETTINGS = PlanesOptions(planes=3, density=23, expansion=2.0)


def reference_scan(model, samples, settings, triplets):
    """The whole method in float64 NumPy, one plane at a time: labels, RE, ATS."""
    maps, entropies, areas = [], [], []
    for triplet in triplets:
        x1, x2, x3 = np.asarray(model.preprocess(samples.images[triplet]), np.float64).reshape(3, -1)
        e1 = (x2 - x1) / np.linalg.norm(x2 - x1)
        rest = (x3 - x1) - ((x3 - x1) @ e1) * e1
        e2 = rest / np.linalg.norm(rest)
        corners = np.array([[0, 0], [(x2 - x1) @ e1, 0], [(x3 - x1) @ e1, (x3 - x1) @ e2]])
        low, high = corners.min(0), corners.max(0)
        grow = settings.expansion * (high - low)
        axes = [np.linspace(low[k] - grow[k], high[k] + grow[k], settings.density) for k in range(2)]
        u, v = np.meshgrid(*axes, indexing="ij")
        points = x1 + u[..., None] * e1 + v[..., None] * e2
        images = points.reshape(-1, *samples.images.shape[1:]).astype(np.float32)
        labels = np.argmax(model.network.apply(model.variables, images), -1).reshape(u.shape)
        shares = np.bincount(labels.ravel()) / labels.size
        entropies.append(np.log2(np.sum(shares**settings.alpha)) / (1 - settings.alpha))
        total = 0.0
        for corner, label in zip(corners, samples.labels[triplet], strict=True):
            row, column = (np.abs(axes[k] - corner[k]).argmin() for k in range(2))
            parts, _ = ndimage.label(labels == label, structure=np.ones((3, 3)))
            area = np.mean(parts == parts[row, column]) if parts[row, column] else 0.0
            total += area if area < settings.ats_cap else 0.0
        maps.append(labels)
        areas.append(total)
    return np.array(maps), np.array(entropies), np.array(areas)


@pytest.mark.parametrize("seed", range(3))
def test_scan_matches_the_reference(seed):
    model, samples = factory.tiny_classifier(seed), factory.tiny_samples()
    result = scan.scan_model(model, samples, SETTINGS)
    labels, re, ats = reference_scan(model, samples, SETTINGS, result.maps.triplets)
    agreement = np.mean(labels == result.maps.labels)
    assert agreement >= 0.999
    if agreement == 1:
        np.testing.assert_allclose(result.re, re, atol=1e-6)
        np.testing.assert_allclose(result.ats, ats, atol=1e-6)
    assert result.queries == SETTINGS.planes * SETTINGS.density**2 + len(samples)
    predicted = np.argmax(model.network.apply(model.variables, model.preprocess(samples.images)), -1)
    assert result.clean_accuracy == np.mean(predicted == samples.labels)
    assert result.distribution.sum() == pytest.approx(1)


def test_scores_can_be_recomputed_from_saved_maps(tmp_path):
    model, samples = factory.tiny_classifier(), factory.tiny_samples()
    result = scan.scan_model(model, samples, SETTINGS)
    path = tmp_path / "ünï cödé.npz"
    result.maps.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    re, ats, counts = scan.scores(LabelMaps.load(path), SETTINGS, 5)
    np.testing.assert_array_equal(re, result.re)
    np.testing.assert_array_equal(ats, result.ats)
    np.testing.assert_array_equal(counts, result.counts)


def test_any_callable_scores_as_the_network_does():
    model, samples = factory.tiny_classifier(1), factory.tiny_samples()

    def label_fn(images):
        return np.argmax(model.network.apply(model.variables, images), -1)

    box = scan.score(label_fn, samples, 5, preprocess=model.preprocess, settings=SETTINGS, batch_size=64)
    result = scan.scan_model(model, samples, SETTINGS)
    np.testing.assert_array_equal(box.maps.labels, result.maps.labels)
    np.testing.assert_array_equal(box.ats, result.ats)


def test_seed_and_plane_count_decide_the_planes():
    samples = factory.tiny_samples()
    few, many = (Scanner(samples, dataclasses.replace(SETTINGS, planes=n)).triplets for n in (2, 5))
    np.testing.assert_array_equal(few, many[:2])
    other = Scanner(samples, dataclasses.replace(SETTINGS, seed=1)).triplets
    assert not np.array_equal(Scanner(samples, SETTINGS).triplets, other)


def test_samples_that_do_not_fit_are_refused():
    model = factory.tiny_classifier()
    with pytest.raises(SamplesError, match="labels reach 6, the model"):
        scan.scan_model(model, factory.tiny_samples(classes=7), SETTINGS)
    grey = factory.tiny_samples()
    grey = dataclasses.replace(grey, images=grey.images[..., :1])
    plain = dataclasses.replace(model, preprocess=Preprocess())
    with pytest.raises(SamplesError, match=r"images are \(8, 8, 1\).*takes \(8, 8, 3\)"):
        scan.scan_model(plain, grey, SETTINGS)


def test_convolutional_networks_take_the_samples_size_with_a_note():
    model = factory.tiny_classifier()
    fitted = Scanner(factory.tiny_samples(side=12), SETTINGS).fit(model)
    assert fitted.input_shape == (12, 12, 3)
    assert "taken from the samples" in fitted.notes[0]


def test_constant_models_are_noticed():
    result = scan.score(lambda images: np.zeros(len(images), int), factory.tiny_samples(), 5, settings=SETTINGS)
    assert result.constant
    assert result.re.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    "wrong",
    [{"planes": 0}, {"density": -1}, {"expansion": -1.0}, {"alpha": 0.5}, {"alpha": float("nan")}, {"ats_cap": 0.0},
     {"ats": "area"}, {"seed": -1}],
)  # fmt: skip
def test_settings_quote_the_bad_value(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        PlanesOptions(**wrong)
    assert str(next(iter(wrong.values()))) in str(caught.value)


def test_preprocess_presets_and_specs():
    image = np.full((1, 2, 2, 3), 0.5, np.float32)
    assert np.allclose(parse("0-255")(image), 127.5)
    assert np.allclose(parse("+-1")(image), 0)
    assert np.allclose(parse({"mean": [0.1, 0.2, 0.3], "std": 0.5})(image)[0, 0, 0], [0.8, 0.6, 0.4])
    ramp = np.stack([np.zeros((2, 2)), np.ones((2, 2)) / 2, np.ones((2, 2))], -1)[None].astype(np.float32)
    assert parse({"channel_order": "BGR"})(ramp)[0, 0, 0].tolist() == [1, 0.5, 0]
    assert parse({"size": 4})(image).shape == (1, 4, 4, 3)
    for wrong in ("cifar", {"means": 1}, {"std": 0}, {"channel_order": "gbr"}, {"mean": "a"}):
        with pytest.raises(ValueError, match="preprocess"):
            parse(wrong)
    again = parse(parse({"preset": "cifar10", "size": [4, 4]}).settings())
    assert again == parse({"preset": "cifar10", "size": 4})
