import re
from typing import Any

import numpy as np
import pytest

from tests.oracles.compare import assert_same_logits, randomised, state_dict, torch_logits
from tests.oracles.dense import CifarDenseNet, DenseNet
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models.architecture import Renames
from xray_jax.models.densenet import variants
from xray_jax.models.published import to_tensors


def test_logits() -> None:
    found = assert_same_logits(DenseNet((2, 3, 1), 6, 4, 8), (34, 32, 3), expected="densenet,")
    assert found.module.block_sizes == (2, 3, 1)


def test_names_before_torchvision_0_3() -> None:
    network = randomised(DenseNet((1, 2), 4, 2, 8))
    new = recognise(Tensors(state_dict(network)))
    old = recognise(Tensors({re.sub(r"(norm|conv)([12])\.", r"\1.\2.", k): v for k, v in state_dict(network).items()}))
    assert "before 0.3" in old.description
    assert old.module == new.module
    kernel = "features.denseblock1.denselayer1"
    np.testing.assert_array_equal(
        old.variables["params"][kernel]["conv1"]["kernel"], new.variables["params"][kernel]["conv1"]["kernel"]
    )


def test_whether_a_pool_follows_a_small_stem_is_open() -> None:
    """PyTorch_CIFAR10 keeps torchvision's names and its pool, others leave that out."""
    found = assert_same_logits(DenseNet((1, 2), 4, 2, 8, small=True, pool=False), (18, 17, 3), expected="densenet,")
    assert "the stem has stride 1, no pool" in found.notes[0]
    true = randomised(DenseNet((1, 2), 4, 2, 8, small=True))
    found = recognise(Tensors(state_dict(true)))
    assert found.variants is not None
    stems, orders, transitions = found.variants.alternatives(found.module, (18, 17, 3))
    usual, pooled = stems
    assert usual == orders[0] == transitions[0] == found.module
    images = np.random.default_rng(0).normal(size=(2, 18, 17, 3)).astype(np.float32)
    wanted = torch_logits(true, images)
    np.testing.assert_allclose(pooled.apply(found.variables, images), wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(usual.apply(found.variables, images) - wanted).max() > 0.01 * np.abs(wanted).max()
    assert "the stem has stride 1 and a max pool" in found.variants.note(pooled)
    # Asked again of the other, the same two: and what the user says is not asked.
    assert set(found.variants.alternatives(pooled, (18, 17, 3))[0]) == {usual, pooled}
    told = recognise(Tensors(state_dict(true)), architecture="densenet:stem=cifar-pool")
    assert told.module == pooled
    assert told.variants is not None
    assert len(told.variants.alternatives(told.module, (18, 17, 3))) == 2


PYTORCH_CIFAR = {"norm": "bn", "head": "linear", "newest_first": True}
DENSENET_PYTORCH = {"norm": "bn1", "head": "fc", "newest_first": False}
PYTORCH_CIFAR_100 = (
    (r"^dense([12])\.(\d)\.", lambda m: f"features.dense_block_layer_{int(m[1]) - 1}.bottle_neck_layer_{m[2]}."),
    (r"^dense3\.(\d)\.", r"features.dense_block2.bottle_neck_layer_\1."),
    (r"(layer_\d\.)bn([12])\.", lambda m: f"{m[1]}bottle_neck.{3 * int(m[2]) - 3}."),
    (r"(layer_\d\.)conv([12])\.", lambda m: f"{m[1]}bottle_neck.{3 * int(m[2]) - 1}."),
    (r"^trans(\d)\.", lambda m: f"features.transition_layer_{int(m[1]) - 1}."),
    (r"(transition_layer_\d)\.bn\.", r"\1.down_sample.0."),
    (r"(transition_layer_\d)\.conv\.", r"\1.down_sample.1."),
    (r"^bn\.", "features.bn."),
)


@pytest.mark.parametrize(
    ("factor", "names", "renames", "naming"),
    [
        (4, PYTORCH_CIFAR, (), "pytorch-cifar"),
        (0, DENSENET_PYTORCH, (), "densenet-pytorch"),
        (2, PYTORCH_CIFAR | {"newest_first": False, "relu": False}, PYTORCH_CIFAR_100, "pytorch-cifar100"),
    ],
)
def test_cifar_forms(factor: int, names: dict[str, Any], renames: Renames, naming: str) -> None:
    found = assert_same_logits(CifarDenseNet(factor, **names), (16, 16, 3), expected="densenet", renames=renames)
    assert found.description.endswith(f"(naming: {naming})")
    assert (found.module.bottleneck, found.module.halved) == (4 * factor, factor > 0)
    orders, transitions = variants(found.module, found.input_shape, (16, 16, 3))
    assert [network.newest_first for network in orders] == [found.module.newest_first, not found.module.newest_first]
    assert found.module in transitions


def test_the_description_gives_what_names_said() -> None:
    """A converted file keeps it, though its names are torchvision's."""
    network = randomised(CifarDenseNet(4, **PYTORCH_CIFAR))
    found = recognise(Tensors(state_dict(network)))
    stored = Tensors(to_tensors(found.variables), metadata={"architecture": found.description})
    assert recognise(stored).module == found.module
