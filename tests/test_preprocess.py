"""Preprocessing from names, mappings, ranges and JSON, against the arithmetic written out."""

import numpy as np
import pytest

from xray_jax.preprocess import Preprocess, parse

IMAGE = np.random.default_rng(0).uniform(size=(2, 4, 5, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (None, IMAGE),
        ("0-255", IMAGE * 255),
        ("+-1", IMAGE * 2 - 1),
        ({"scale": "0-255"}, IMAGE * 255),
        ({"scale": [-1, 1]}, IMAGE * 2 - 1),
        ({"scale": [-2, 6]}, IMAGE * 8 - 2),
        ("0-255-bgr", IMAGE[..., ::-1] * 255),
        ({"preset": "0-1", "channel_order": "BGR", "layout": "NCHW"}, IMAGE[..., ::-1]),
        ("caffe-bgr", IMAGE[..., ::-1] * 255 - [103.939, 116.779, 123.68]),
        ({"mean": 0.5, "std": [0.1, 0.2, 0.4]}, (IMAGE - 0.5) / [0.1, 0.2, 0.4]),
        ('{"mean": [0.1, 0.2, 0.3], "std": 0.5}', (IMAGE - [0.1, 0.2, 0.3]) / 0.5),
    ],
)
def test_specs_are_the_maps_they_say(spec, expected):
    preprocess = parse(spec)
    np.testing.assert_allclose(preprocess(IMAGE), expected, rtol=1e-5, atol=1e-4)
    assert parse(preprocess.settings()) == preprocess


@pytest.mark.parametrize(("size", "shape"), [(3, (3, 3)), ([2, 6], (2, 6)), (None, (4, 5))])
def test_size(size, shape):
    assert parse({"size": size})(IMAGE).shape == (2, *shape, 3)


def test_a_preset_with_a_size_is_said_back_whole():
    square = parse({"preset": "cifar10", "size": 4})
    assert parse(parse({"preset": "cifar10", "size": [4, 4]}).settings()) == square
    assert square.mean == parse("cifar10").mean


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cifar", "unknown preset 'cifar'.*cifar10"),
        ({"scale": [1, 1]}, "low < high"),
        ({"scale": ["a", 1]}, r"\[low, high\]"),
        ({"means": 1}, "unknown keys"),
        ({"layout": "HW"}, "NHWC or NCHW"),
        ({"size": -3}, "size must be"),
        ({"size": [1, 2, 3]}, "size must be"),
        ({"std": 0}, "std must be positive"),
        ({"mean": "a"}, "mean"),
        ({"mean": "123"}, "mean must be a number or a list of numbers, got '123'"),
        ({"std": []}, r"std must be a number or a list of numbers, got \[\]"),
        ({"mean": [True, 0, 0]}, "mean must be a number or a list"),
        ({"mean": 10**400}, "mean must be a number or a list"),
        ('{"mean": [NaN, 0, 0]}', "mean must be a finite number"),
        ({"mean": 1e39}, "mean must be a finite number"),
        ('{"std": Infinity}', "std must be positive and finite"),
        ('{"std": NaN}', "std must be positive and finite"),
        ({"std": 1e-60}, "std must be positive and finite"),
        ({"scale": [0, 1e-50]}, "std must be positive and finite"),
        ({"preset": "imagenet", "scale": "+-1"}, r"preset 'imagenet' and scale '\+-1' both"),
        ({"scale": [-1, 1], "mean": [0.5], "std": [0.25]}, r"mean \[0.5\] and scale \[-1, 1\] both"),
        ({"scale": "0-255", "std": 0.25}, "std 0.25 and scale '0-255' both"),
        ({"channel_order": "gbr"}, "channel_order"),
        ('{"mean": ', "JSON"),
    ],
)
def test_bad_specs_are_quoted(spec, message):
    with pytest.raises(ValueError, match=message):
        parse(spec)


def test_wrong_channel_counts_are_refused():
    with pytest.raises(ValueError, match="2 values"):
        Preprocess(mean=(0.1, 0.2))(IMAGE)
