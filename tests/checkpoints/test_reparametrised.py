"""Masks, weight norms and spectral norms: what torch's layers use, from what it stores."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from tests.oracles.compare import assert_same_logits, randomised, state_dict
from xray_jax.checkpoints.reparametrised import effective


class Net(nn.Module):
    """Every kind once; a pruned bias too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.Conv2d(6, 6, 1),
        )
        self.fc1, self.fc2 = nn.Linear(24, 8), nn.Linear(8, 5)
        prune.l1_unstructured(self.conv1, "weight", 0.5)
        prune.random_unstructured(self.conv1, "bias", 0.5)
        weight_norm(self.conv2)
        spectral_norm(self.conv3)
        parametrizations.weight_norm(self.fc1)
        parametrizations.spectral_norm(self.fc2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv3(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_logits() -> None:
    found = assert_same_logits(Net(), (16, 16, 3), architecture="plain:pool_after=1+2+3:padding=1+1+0")
    assert {note for note in found.notes if "computed from their" in note} == {
        "2 leaves computed from their pruning masks",
        "2 leaves computed from their weight norms",
        "2 leaves computed from their spectral norms",
    }


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (1, 6), (5, 1)])
def test_weight_norms_over_any_axis(axis: int | None, shape: tuple[int, ...]) -> None:
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.ones(shape))
    layer = randomised(parametrizations.weight_norm(layer, dim=axis))
    found, _ = effective(state_dict(layer))
    np.testing.assert_allclose(np.asarray(found["weight"]), layer.weight.detach().numpy(), rtol=1e-6)


def test_order_and_other_leaves_stay() -> None:
    arrays = {"a": np.ones(2), "b.weight_orig": np.ones((2, 2)), "b.weight_mask": np.eye(2), "c": np.ones(1)}
    found, notes = effective(arrays)
    assert list(found) == ["a", "b.weight", "c"]
    assert found["b.weight"].shape == (2, 2)
    assert notes == ("1 leaves computed from their pruning masks",)


@pytest.mark.parametrize(
    "arrays",
    [
        {"w_mask": np.ones(3)},
        {"w_orig": np.ones(3), "w_mask": np.ones((10**6, 3))[:0]},
        {"w_orig": np.ones(3), "w_mask": np.ones(3), "w": np.ones(3)},
        {"w_v": np.ones((3, 2)), "w_g": np.ones((10**4, 1))},
        {"w_v": np.ones((3, 2)), "w_g": np.ones((3, 2))},
        {"w_orig": np.ones((3, 2)), "w_u": np.ones(2), "w_v": np.ones(3)},
        {"parametrizations.w.original0": np.ones(()), "parametrizations.w.original2": np.ones(2)},
        {"parametrizations.w.original": np.ones((2, 2)), "parametrizations.w.0.base": np.ones((2, 2))},
    ],
)
def test_parts_that_do_not_belong_together_stay_as_they_are(arrays: dict[str, np.ndarray]) -> None:
    found, notes = effective(arrays)
    assert found == arrays
    assert notes == ()
