"""Keras files against Keras itself (JAX backend), which only these tests import."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

from xray_jax.checkpoints.loading import load
from xray_jax.classifier import Classifier

reference = pytest.importorskip("keras", reason="Keras is the reference here (extra `test`)")
h5py = pytest.importorskip("h5py", reason="Keras writes its files through h5py (extra `test`)")
L = reference.layers


def randomise(model, seed=0):
    """Random weights; variances positive, so that batch statistics are no identity."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        value = generator.normal(0, 0.4, weight.shape)
        if "variance" in weight.path:
            value = np.abs(value) + 0.3
        if "count" not in weight.path:
            weight.assign(value.astype(np.float32))
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            layer.finalize_state()
    return model


def assert_reads_as(model, path, shape=None, rtol=1e-4, through=lambda scores: scores):
    """Saved, read by this package and called on random images: `through` its scores, what Keras puts out."""
    model.save(path)
    read = load(path)
    assert isinstance(read, Classifier)
    images = np.random.default_rng(1).normal(0.3, 1.0, (5, *read.input_shape)).astype(np.float32)
    inputs = images if shape is None else shape(images)
    with jax.numpy_rank_promotion("allow"):
        expected = np.asarray(model(inputs, training=False))
    actual = np.asarray(through(read.network.apply(read.variables, images)))
    assert actual.shape == expected.shape == (5, read.num_classes)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
    assert np.std(expected) > 1e-3, "a test on constants shows nothing"
    return read


def sequential(*layers, shape=(9, 8, 3)):
    return randomise(reference.Sequential([L.Input(shape), *layers, L.Flatten(), L.Dense(4)]))


LAYERS = {
    "conv valid": lambda: [L.Conv2D(5, 3)],
    "conv same strided": lambda: [L.Conv2D(5, (3, 2), strides=(2, 3), padding="same", use_bias=False)],
    "conv dilated": lambda: [L.Conv2D(5, 3, dilation_rate=2, padding="same", activation="relu")],
    "conv groups": lambda: [L.Conv2D(6, 3, groups=3, activation="tanh")],
    "depthwise": lambda: [L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)],
    "separable": lambda: [L.SeparableConv2D(5, 3, depth_multiplier=2, strides=2, padding="same", activation="elu")],
    "dense on images": lambda: [L.Dense(6, activation="sigmoid", use_bias=False)],
    "batch norm": lambda: [L.BatchNormalization()],
    "batch norm bare": lambda: [L.BatchNormalization(scale=False, center=False, epsilon=0.1)],
    "batch norm rows": lambda: [L.BatchNormalization(axis=1, scale=False)],
    "layer norm": lambda: [L.LayerNormalization()],
    "layer norm axes": lambda: [L.LayerNormalization(axis=[1, 3], center=False, epsilon=0.01)],
    "layer norm by the deviation": lambda: [L.LayerNormalization(rms_scaling=True, scale=False)],
    "group norm": lambda: [L.Conv2D(6, 3), L.GroupNormalization(3, epsilon=0.01)],
    "group norm rows": lambda: [L.GroupNormalization(3, axis=1, scale=False)],
    "instance norm": lambda: [L.GroupNormalization(-1, center=False)],
    "normalization weights": lambda: [L.Normalization()],
    "normalization given": lambda: [L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.0, 2.0])],
    "normalization scalar": lambda: [L.Normalization(axis=None, mean=0.5, variance=0.3, invert=True)],
    "rescaling": lambda: [L.Rescaling(1 / 127.5, offset=-1)],
    "rescaling channels": lambda: [L.Rescaling([0.5, 1.0, 2.0], offset=[0.1, 0.2, 0.3])],
    "rescaling array": lambda: [L.Rescaling(np.array([0.5, 1.0, 2.0]), offset=np.array([[0.1, 0.2, 0.3]]))],
    "rescaling rows": lambda: [L.Rescaling(np.linspace(0.5, 2, 9).reshape(9, 1, 1))],
    "relu capped": lambda: [L.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2)],
    "relu6": lambda: [L.ReLU(6.0)],
    "leaky": lambda: [L.LeakyReLU(0.15)],
    "elu": lambda: [L.ELU(0.7)],
    "prelu": lambda: [L.PReLU()],
    "prelu shared": lambda: [L.PReLU(shared_axes=[1, 2])],
    "softmax layer": lambda: [L.Softmax(axis=1)],
    "activation of a layer": lambda: [L.Conv2D(4, 3, activation=L.LeakyReLU(0.3))],
    "max pool": lambda: [L.MaxPooling2D()],
    "max pool same": lambda: [L.MaxPooling2D(3, strides=2, padding="same")],
    "average pool same": lambda: [L.AveragePooling2D(3, strides=2, padding="same")],
    "average pool": lambda: [L.AveragePooling2D((2, 3))],
    "global average": lambda: [L.GlobalAveragePooling2D()],
    "global max keepdims": lambda: [L.GlobalMaxPooling2D(keepdims=True)],
    "reshape permute": lambda: [L.Reshape((4, -1, 3)), L.Permute((3, 1, 2))],
    "padding cropping": lambda: [L.ZeroPadding2D(((1, 2), (0, 3))), L.Cropping2D((1, 2)), L.ZeroPadding2D(1)],
    "upsampling": lambda: [L.UpSampling2D((2, 3))],
    "upsampling bilinear": lambda: [L.UpSampling2D(2, interpolation="bilinear")],
    "resizing": lambda: [L.Resizing(5, 12)],
    "resizing antialias": lambda: [L.Resizing(5, 4, antialias=True)],
    "resizing nearest": lambda: [L.Resizing(5, 12, interpolation="nearest")],
    "identities": lambda: [
        L.Dropout(0.5),
        L.SpatialDropout2D(0.5),
        L.GaussianNoise(1.0),
        L.GaussianDropout(0.5),
        L.AlphaDropout(0.5),
        L.ActivityRegularization(0.1),
        L.Identity(),
    ],
    "augmentation": lambda: [
        L.RandomFlip(),
        L.RandomRotation(0.4),
        L.RandomZoom(0.3),
        L.RandomTranslation(0.3, 0.3),
        L.RandomContrast(0.4),
        L.RandomBrightness(0.3),
    ],
}


@pytest.mark.filterwarnings("ignore:You passed .rms_scaling=True")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_keras_computes(name, tmp_path):
    assert_reads_as(sequential(*LAYERS[name]()), tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:You passed .rms_scaling=True")
@pytest.mark.parametrize(
    "name",
    [
        "conv valid",
        "depthwise",
        "separable",
        "batch norm rows",
        "layer norm",
        "layer norm by the deviation",
        "group norm",
        "normalization weights",
        "prelu",
    ],
)
def test_weights_are_found_in_the_older_format(name, tmp_path):
    assert_reads_as(sequential(*LAYERS[name](), *LAYERS[name]()), tmp_path / "model.h5")


@pytest.mark.parametrize(
    "function",
    [
        "linear",
        "relu",
        "relu6",
        "elu",
        "selu",
        "celu",
        "leaky_relu",
        "gelu",
        "silu",
        "mish",
        "hard_silu",
        "hard_sigmoid",
        "hard_tanh",
        "sigmoid",
        "log_sigmoid",
        "tanh",
        "softplus",
        "softsign",
        "exponential",
        "softmax",
        "log_softmax",
    ],
)
def test_an_activation_computes_what_keras_computes(function, tmp_path):
    assert_reads_as(sequential(L.Conv2D(4, 2), L.Activation(function)), tmp_path / "model.keras")


FIRST = {"data_format": "channels_first"}
CHANNELS_FIRST = {
    "conv": lambda: [L.Conv2D(5, 3, strides=2, padding="same", **FIRST), L.BatchNormalization(axis=1)],
    "depthwise": lambda: [L.DepthwiseConv2D(3, depth_multiplier=2, **FIRST)],
    "separable": lambda: [L.SeparableConv2D(5, 3, **FIRST)],
    "pools": lambda: [L.MaxPooling2D(2, **FIRST), L.AveragePooling2D(3, padding="same", **FIRST)],
    "borders": lambda: [L.ZeroPadding2D(((1, 2), (0, 3)), **FIRST), L.Cropping2D(1, **FIRST)],
    "resizing": lambda: [L.UpSampling2D(2, **FIRST), L.Resizing(5, 12, **FIRST)],
    "global": lambda: [L.Conv2D(5, 3, **FIRST), L.GlobalAveragePooling2D(keepdims=True, **FIRST)],
    "max": lambda: [L.Conv2D(5, 3, **FIRST), L.GlobalMaxPooling2D(**FIRST)],
}


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_channels_first_models_take_the_same_images(name, tmp_path):
    model = randomise(
        reference.Sequential([L.Input((3, 9, 8)), *CHANNELS_FIRST[name](), L.Flatten(**FIRST), L.Dense(4)])
    )
    read = assert_reads_as(model, tmp_path / "m.keras", lambda images: images.transpose(0, 3, 1, 2))
    assert read.input_shape == (9, 8, 3)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_rescaling_follows_the_data_format_that_keras_is_set_to(suffix, tmp_path):
    reference.config.set_image_data_format("channels_first")
    try:
        # Square maps of as many channels as rows: only the setting says what the values are of.
        layers = [L.Rescaling([0.5, 1.0, 2.0]), L.Conv2D(6, 3), L.Rescaling(np.arange(1.0, 7), offset=0.1)]
        model = randomise(reference.Sequential([L.Input((3, 8, 8)), *layers, L.Flatten(), L.Dense(4)]))
        assert_reads_as(model, tmp_path / f"m.{suffix}", lambda images: images.transpose(0, 3, 1, 2))
    finally:
        reference.config.set_image_data_format("channels_last")


def residual(names=None):
    """Branches, merges, a nested model called twice, a layer called twice, keras.ops with constants."""
    image = L.Input((8, 8, 3))
    stem = L.Conv2D(4, 3, padding="same", name=names)(image)
    block = reference.Sequential([L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU()])
    inner = L.Input((8, 8, 4))
    nested = reference.Model(inner, L.Multiply()([L.Conv2D(4, 1, activation="sigmoid")(inner), block(inner)]))
    shared = L.SeparableConv2D(4, 3, padding="same")
    x = L.Add()([stem, nested(stem)])
    y = nested(x)
    merged = [L.Subtract()([x, y]), L.Maximum()([x, y]), L.Minimum()([x, stem]), L.Average()([x, y, stem])]
    z = L.Concatenate()([*merged, shared(x), shared(y)])
    gate = L.GlobalAveragePooling2D(keepdims=True)(z)
    z = L.Multiply()([z, L.Activation("sigmoid")(gate)])
    z = reference.ops.relu(z) * 0.5 + 1.0
    z = 2.0 - z
    return randomise(reference.Model(image, L.Dense(5, activation="softmax")(L.GlobalMaxPooling2D()(z))))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_functional_model_with_branches_and_nested_models(suffix, tmp_path):
    assert_reads_as(residual(), tmp_path / f"model.{suffix}", through=jax.nn.softmax)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_frozen_layers_of_a_nested_model_keep_their_own_weights(suffix, tmp_path):
    base = reference.Sequential([L.Input((6, 6, 3)), *[L.Conv2D(3, 1) for _ in range(3)], L.BatchNormalization()])
    base.layers[0].trainable = False
    base.layers[2].trainable = False
    assert_reads_as(sequential(base, shape=(6, 6, 3)), tmp_path / f"model.{suffix}")


def test_a_published_architecture(tmp_path):
    model = reference.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=7, alpha=0.35)
    model.save(tmp_path / "model.keras")
    read = load(tmp_path / "model.keras")
    images = np.random.default_rng(1).normal(0.3, 1.0, (2, 32, 32, 3)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(lambda x: model(x, training=False))(images)
    actual = jax.nn.softmax(jax.jit(read.network.apply)(read.variables, images))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_grey_and_flat_inputs(tmp_path):
    flat = randomise(reference.Sequential([L.Input((48,)), L.Dense(4)]))
    read = assert_reads_as(flat, tmp_path / "flat.keras", lambda images: images.reshape(len(images), -1))
    assert read.input_shape == (4, 4, 3)
    grey = randomise(reference.Sequential([L.Input((5, 6)), L.Flatten(), L.Dense(4)]))
    read = assert_reads_as(grey, tmp_path / "grey.keras", lambda images: images[..., 0])
    assert read.input_shape == (5, 6, 1)


def test_equal_architectures_share_one_program(tmp_path):
    first = assert_reads_as(residual(), tmp_path / "a.keras", through=jax.nn.softmax)
    second = assert_reads_as(residual("named"), tmp_path / "b.h5", through=jax.nn.softmax)
    assert first.network == second.network
    assert hash(first.network) == hash(second.network)
    assert jax.tree.structure(first.variables) == jax.tree.structure(second.variables)
    third = assert_reads_as(sequential(L.Conv2D(4, 3)), tmp_path / "c.keras")
    assert third.network != first.network
