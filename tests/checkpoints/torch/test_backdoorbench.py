"""BackdoorBench's `attack_result.pt`, as its two versions write it; Pillow and numpy objects stay inert."""

import numpy as np
import pytest
from PIL import Image

from tests import factory
from xray_jax import checkpoints
from xray_jax.checkpoints import formats
from xray_jax.models import published
from xray_jax.preprocess import parse

torch = pytest.importorskip("torch", reason="torch writes these files (extra `test`)")

IMAGES = 30


def version1():
    images = [Image.fromarray(np.full((32, 32, 3), k, np.uint8)) for k in range(IMAGES)]
    return {"x": images, "y": list(range(IMAGES)), "original_targets": list(range(IMAGES))}


def version2():
    return {
        "bd_data_container": {
            "size": np.int64(IMAGES),
            "data_dict": {
                np.int64(k): {"path": f"/record/{k}.png", "other_info": (np.int64(k), 0, np.float32(1.5), "train")}
                for k in range(IMAGES)
            },
            "save_folder_path": "/record",
        },
        "poison_indicator": np.zeros(IMAGES, np.int8),
        "transform": None,
    }


@pytest.mark.parametrize("poisoned", [version1, version2])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_attack_result(poisoned, zipped, prefix, tmp_path):
    expected = factory.tiny_variables()
    tensors = published.to_tensors(expected)
    torch.save(
        {
            "model_name": "preactresnet18",
            "num_classes": 5,
            "model": {prefix + name: torch.from_numpy(np.array(array)) for name, array in tensors.items()},
            "data_path": "../data/cifar10",
            "img_size": (8, 8, 3),
            "clean_data": "cifar10",
            "bd_train": None,
            "bd_test": poisoned(),
        },
        tmp_path / "attack_result.pt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(Exception, match="eights"):
        torch.load(tmp_path / "attack_result.pt", weights_only=True)
    found = formats.read(tmp_path / "attack_result.pt")
    told = {"model_name": "preactresnet18", "num_classes": 5, "img_size": [8, 8, 3], "clean_data": "cifar10"}
    assert {key: found.metadata[key] for key in told} == told
    model = checkpoints.load(tmp_path / "attack_result.pt")
    assert (model.num_classes, model.input_shape, model.preprocess) == (5, (8, 8, 3), parse("cifar10"))
    kernel = expected["params"]["layer1.0"]["conv2"]["kernel"]
    np.testing.assert_array_equal(model.variables["params"]["layer1.0"]["conv2"]["kernel"], kernel)


@pytest.mark.parametrize("counter", [np.int64(5), torch.tensor(5), 5])
def test_class_count_of_any_kind(counter, tmp_path):
    torch.save({"num_classes": counter, "model": {"a": torch.ones(2)}}, tmp_path / "a.pt")
    assert formats.read(tmp_path / "a.pt").metadata.get("num_classes", 5) == 5
