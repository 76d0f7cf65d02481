"""Shadows, tuning and the whole, on a tiny image set."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax import checkpoints, models
from xray_jax.detectors.mntd import meta_classifier
from xray_jax.lab.data import ImageSet
from xray_jax.lab.mntd import shadows, tuning
from xray_jax.lab.mntd.shadows import ShadowOptions, train_shadows
from xray_jax.lab.mntd.train import FILE, SHADOWS, MntdOptions, train_meta_classifier
from xray_jax.lab.mntd.tuning import Scale, TuneOptions, tune
from xray_jax.lab.training import TrainOptions

RECIPE = TrainOptions(epochs=2, batch_size=32, flip=False)
OPTIONS = ShadowOptions("preactresnet-small", share=0.3, training=RECIPE)
TUNING = TuneOptions(queries=3, hidden=5, epochs=25, learning_rate=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mntd")


@pytest.fixture(scope="module")
def zoo(bands: ImageSet, folder: Path) -> list[shadows.Shadow]:
    return train_shadows(bands, OPTIONS, range(3), folder / SHADOWS)


def test_shadows_are_files_that_are_read_again_and_that_anybody_can_scan(
    bands: ImageSet, folder: Path, zoo: list[shadows.Shadow], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [(shadow.kind, shadow.number) for shadow in zoo] == [(k, n) for n in range(3) for k in ("clean", "jumbo")]
    assert all((shadow.success is None) == (shadow.kind == "clean") for shadow in zoo)
    monkeypatch.setattr(shadows, "train", None)
    again = train_shadows(bands, OPTIONS, range(3), folder / SHADOWS)
    for before, after in zip(zoo, again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, before.variables, after.variables)
    loaded = checkpoints.load(folder / SHADOWS / "jumbo-00002.safetensors")
    assert loaded.architecture.startswith("preactresnet-small")
    assert loaded.num_classes == 4


def test_a_missing_shadow_is_trained_again_as_it_was(bands: ImageSet, folder: Path, zoo: list[shadows.Shadow]) -> None:
    (folder / SHADOWS / "jumbo-00001.safetensors").unlink()
    again = train_shadows(bands, OPTIONS, range(3), folder / SHADOWS)
    jax.tree.map(np.testing.assert_array_equal, zoo[3].variables, again[3].variables)


def test_shadows_trained_at_once_are_those_trained_alone(
    bands: ImageSet, tmp_path: Path, zoo: list[shadows.Shadow]
) -> None:
    together = train_shadows(bands, OPTIONS, range(1), tmp_path, together=2)
    for alone, joint in zip(zoo, together, strict=False):
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02)  # noqa: E731
        jax.tree.map(close, alone.variables["params"]["linear"], joint.variables["params"]["linear"])


def test_shadows_of_other_settings_and_damaged_ones_are_refused(
    bands: ImageSet, folder: Path, zoo: list[shadows.Shadow], tmp_path: Path
) -> None:
    other = dataclasses.replace(OPTIONS, training=dataclasses.replace(RECIPE, epochs=3))
    with pytest.raises(ValueError, match="a shadow of other settings"):
        train_shadows(bands, other, range(1), folder / SHADOWS)
    (tmp_path / "clean-00000.safetensors").write_bytes(b"")
    (tmp_path / "jumbo-00000.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"clean-00000.*delete it, and it is trained again"):
        train_shadows(bands, OPTIONS, range(1), tmp_path)


def test_the_kinds_see_the_same_clean_images(bands: ImageSet) -> None:
    images, labels = shadows.clean_part(bands, OPTIONS)
    assert len(images) == len(labels) == 180
    assert len(np.unique(images.reshape(180, -1), axis=0)) == 180
    assert shadows.trigger_of(bands, OPTIONS, "clean", 0) is None
    first, second = (shadows.trigger_of(bands, OPTIONS, "jumbo", number) for number in range(2))
    assert first is not None
    assert second is not None
    assert first.rate != second.rate


def tuned(bands: ImageSet, zoo: list[shadows.Shadow], options: TuneOptions = TUNING) -> tuning.Tuned:
    network = models.build("preactresnet-small", 4)
    return tune(network, bands.normalise, Scale.of(bands.train_images), (16, 16, 3), 4, zoo, [], options)


def test_tuning_lowers_the_loss_and_moves_the_queries(bands: ImageSet, zoo: list[shadows.Shadow]) -> None:
    found = tuned(bands, zoo)
    assert len(found.losses) == 26
    assert found.losses[-1] < 0.5 * found.losses[0]
    assert found.epoch == 25
    first = tuning.first_params((16, 16, 3), 4, TUNING)["queries"]
    assert 0.01 < np.abs(found.params["queries"] - np.asarray(first)).max() < 3
    again = tuned(bands, zoo)
    np.testing.assert_array_equal(again.queries, found.queries)


def test_first_queries_have_the_datas_mean_and_deviation(bands: ImageSet) -> None:
    scale = Scale.of(bands.train_images)
    queries = scale.mean + scale.std * np.asarray(tuning.first_params((16, 16, 3), 4, TUNING)["queries"])
    pixels = bands.train_images / 255
    np.testing.assert_allclose(queries.mean((0, 1, 2)), pixels.mean((0, 1, 2)), atol=0.05)
    np.testing.assert_allclose(queries.std((0, 1, 2)), pixels.std((0, 1, 2)), rtol=0.1)


def test_tuning_needs_both_kinds(bands: ImageSet, zoo: list[shadows.Shadow]) -> None:
    with pytest.raises(ValueError, match="needs clean and poisoned shadows"):
        tuned(bands, zoo[::2])
    with pytest.raises(ValueError, match="needs clean and poisoned shadows"):
        tuned(bands, [])


def test_area_under_the_curve_counts_pairs(zoo: list[shadows.Shadow]) -> None:
    # clean 0, poisoned 1, clean 2, poisoned 0, clean 1, poisoned 3.
    found = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 3.0])
    assert tuning.area_under_curve(found, zoo) == pytest.approx((1.5 + 0.5 + 3) / 9)


def test_the_whole_writes_a_file_that_scores_as_it_did_when_it_was_tuned(
    bands: ImageSet, folder: Path, zoo: list[shadows.Shadow]
) -> None:
    said: list[str] = []
    options = MntdOptions(count=2, validation=1, shadows=OPTIONS, tuning=dataclasses.replace(TUNING, epochs=3))
    made = train_meta_classifier(bands, options, folder, report=said.append)
    back = meta_classifier.load(folder / FILE)
    assert back.digest() == made.digest()
    assert len(said) == 1, "every shadow was there"
    assert len(back.training["validation_auroc"]) == 3
    network, scores = models.build("preactresnet-small", 4), []
    for shadow in zoo[:4]:
        logits = network.apply(shadow.variables, bands.normalise(jnp.asarray(back.queries)))
        scores.append(back.score(np.asarray(logits)))
    assert back.threshold == pytest.approx(float(np.median(scores)), rel=1e-3, abs=1e-4)
