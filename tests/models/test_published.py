import flax.linen as nn
import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from xray_jax.models import plain, published, registry

SHAPE = (8, 8, 3)
NETWORK = plain.small((5, 6), hidden=(7,))(num_classes=4)


def _variables(network: nn.Module = NETWORK) -> dict:
    """A tree as `init` makes it, with random numbers: initialisers would have to be compiled."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *SHAPE), np.float32))
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)


def test_expected_shapes_are_torchs() -> None:
    assert published.expected_shapes(NETWORK, SHAPE) == {
        "conv1.weight": (5, 3, 3, 3),
        "conv1.bias": (5,),
        "conv2.weight": (6, 5, 3, 3),
        "conv2.bias": (6,),
        "fc1.weight": (7, 24),
        "fc1.bias": (7,),
        "fc2.weight": (4, 7),
        "fc2.bias": (4,),
    }


@pytest.mark.parametrize("name", ["preactresnet-small", "resnet20-cifar-b"])
def test_there_and_back(name: str) -> None:
    network = registry.build(name, 4)
    variables = _variables(network)
    back = published.to_variables(network, published.to_tensors(variables), SHAPE)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_flax_keys() -> None:
    variables = _variables()
    flat = flatten_dict(variables, sep="/")
    back = published.to_variables(NETWORK, published.from_flax(flat), SHAPE)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    with pytest.raises(ValueError, match="'kernel' is not inside a collection"):
        published.from_flax({"kernel": np.zeros(3)})
    twice = {**flat, "average/conv1/kernel": flat["params/conv1/kernel"]}
    with pytest.raises(ValueError, match=r"two leaves come to the name 'conv1\.weight'"):
        published.from_flax(twice)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_any_floating_type_becomes_float32(dtype: type) -> None:
    tensors = {key: value.astype(dtype) for key, value in published.to_tensors(_variables()).items()}
    variables = published.to_variables(NETWORK, tensors, SHAPE)
    leaf = variables["params"]["fc1"]["kernel"]
    assert leaf.dtype == np.float32
    assert leaf.flags.c_contiguous
    np.testing.assert_array_equal(leaf, tensors["fc1.weight"].T.astype(np.float32))


def test_integers_are_refused() -> None:
    tensors = published.to_tensors(_variables()) | {"fc1.weight": np.zeros((7, 24), np.int8)}
    with pytest.raises(ValueError, match=r"fc1\.weight holds int8"):
        published.to_variables(NETWORK, tensors, SHAPE)


def test_everything_that_differs_is_named_at_once() -> None:
    tensors = published.to_tensors(_variables())
    del tensors["conv1.bias"], tensors["fc2.bias"]
    tensors |= {"fc3.weight": np.zeros(3), "fc1.weight": np.zeros((7, 25)), "bn.num_batches_tracked": np.zeros(())}
    with pytest.raises(published.MismatchError) as caught:
        published.to_variables(NETWORK, tensors, SHAPE)
    error = caught.value
    assert error.missing == ["conv1.bias", "fc2.bias"]
    assert error.extra == ["fc3.weight"]
    assert error.misshaped == [("fc1.weight", (7, 25), (7, 24))]
    assert error.count == 4
    for name in ("conv1.bias", "fc2.bias", "fc3.weight", "(7, 25), expected (7, 24)"):
        assert name in str(error)


class _Unread:
    """A tensor that must not be read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise AssertionError("read")


def test_nothing_is_read_before_all_shapes_fit() -> None:
    shapes = published.expected_shapes(NETWORK, SHAPE)
    tensors = {key: _Unread(shape) for key, shape in shapes.items()} | {"more": _Unread((1,))}
    with pytest.raises(published.MismatchError):
        published.to_variables(NETWORK, tensors, SHAPE)


def test_bookkeeping_is_never_read() -> None:
    tensors: dict = dict(published.to_tensors(_variables()))
    tensors |= {"bn1.num_batches_tracked": _Unread(()), "total_ops": _Unread((1,))}
    published.to_variables(NETWORK, tensors, SHAPE)
