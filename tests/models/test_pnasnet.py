import pytest

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.pytorch_cifar import PNASNet
from xray_jax.models import build, pnasnet


@pytest.mark.parametrize(("pairs", "expected"), [(False, ""), (True, ", pairs=True")])
def test_logits(pairs: bool, expected: str) -> None:
    found = assert_same_logits(PNASNet(pairs, 4, 1), (10, 8, 3), expected="pnasnet, stage_sizes=(1, 1, 1), ")
    assert found.description.endswith(f"widths=(4, 8, 16){expected} (naming: pytorch-cifar)")


def test_full_size() -> None:
    assert_recognised(PNASNet(False, 44, 6), "pnasnet-a-cifar (naming: pytorch-cifar)")
    of_pairs = pnasnet.infer({key: tuple(value.shape) for key, value in PNASNet(True, 32, 6).state_dict().items()})
    assert of_pairs is not None
    assert of_pairs.module == build("pnasnet-b-cifar", 7)
