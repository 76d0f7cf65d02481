import re

import numpy as np

from tests.oracles.compare import assert_same_logits, randomised, state_dict
from tests.oracles.dense import DenseNet
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise


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
