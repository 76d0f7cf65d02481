import numpy as np
import pytest
from PIL import Image

from tests import factory
from xray_jax import samples


def test_npz_and_folder_give_the_same_samples(tmp_path):
    given = factory.tiny_samples(9, 3)
    pixels = np.round(given.images * 255).astype(np.uint8)
    factory.save_samples(tmp_path / "s.npz", given)
    for i, (image, label) in enumerate(zip(pixels, given.labels, strict=True)):
        folder = tmp_path / "set with space" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    one, two = samples.read(tmp_path / "s.npz"), samples.read(tmp_path / "set with space")
    np.testing.assert_allclose(one.images, given.images, atol=1e-6)
    order = np.argsort(one.labels, kind="stable")
    np.testing.assert_array_equal(one.images[order], two.images)
    np.testing.assert_array_equal(one.labels[order], two.labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 8, 8, 2), np.uint8), np.arange(4), "C = 1 or 3"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.arange(3), "labels of shape"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4), "must be integers"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 2, -1]), "must not be negative"),
        (np.full((4, 8, 8, 3), np.nan, np.float32), np.arange(4), "NaN"),
        (np.full((4, 8, 8, 3), 200, np.float32), np.arange(4), r"must lie in \[0, 1\]"),
        (np.zeros((4, 8, 8, 3), np.int64), np.arange(4), "uint8 or float"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 2**32]), "label 4294967296 is beyond"),
    ],
)
def test_bad_arrays_are_refused(images, labels, message):
    with pytest.raises(samples.SamplesError, match=message):
        samples.from_arrays(images, labels)


def test_folders_that_are_no_classes(tmp_path):
    """What systems leave behind changes no label; a name beside numbers is refused, because it could be either."""
    for name in ("0", "10", "2", ".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    assert samples.read(tmp_path).labels.tolist() == [0, 10, 2]
    (tmp_path / "cat").mkdir()
    with pytest.raises(samples.SamplesError, match="numbers beside 'cat'"):
        samples.read(tmp_path)


def test_deep_images_are_refused(tmp_path):
    (tmp_path / "0").mkdir()
    Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(tmp_path / "0" / "a.png")
    with pytest.raises(samples.SamplesError, match=r"a\.png: .*8 bits a channel"):
        samples.read(tmp_path)


def test_bad_files_are_refused_by_name(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", images=np.array([{}], object), labels=np.zeros(1, int))
    (tmp_path / "empty").mkdir()
    (tmp_path / "rubbish" / "0").mkdir(parents=True)
    (tmp_path / "rubbish" / "0" / "a.png").write_bytes(b"no image")
    for name, message in [
        ("broken.npz", "not a readable .npz"),
        ("other.npz", r"no array \['images', 'labels'\]"),
        ("pickle.npz", "not a readable .npz"),
        ("empty", "one sub-folder of images a class"),
        ("rubbish", "not a readable image"),
        ("missing.npz", "no such file"),
        ("missing", "no such file"),
    ]:
        with pytest.raises(samples.SamplesError, match=message) as caught:
            samples.read(tmp_path / name)
        assert name in str(caught.value)


def test_a_set_of_the_package_goes_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = samples.read("cifar10")
    assert shipped.images.shape == (200, 32, 32, 3)
    assert np.unique(shipped.labels).tolist() == list(range(10))
    assert str(tmp_path) not in shipped.source
    for unknown in ("cifar11", "cifar11.npz", "./cifar10"):
        with pytest.raises(samples.SamplesError, match=r"no such file.* the package has these sets: cifar10"):
            samples.read(unknown)


def test_a_folder_comes_before_the_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in range(3):
        (tmp_path / "cifar10" / str(label)).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "cifar10" / str(label) / "a.png")
    assert samples.read("cifar10").images.shape == (3, 8, 8, 3)
