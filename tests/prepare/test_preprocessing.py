"""Advice on preprocessing: a model that is only right in one input space, recovered from its labels."""

from itertools import pairwise

import numpy as np
import pytest

from xray_jax.classifier import BlackBox
from xray_jax.prepare.preprocessing import MAX_IMAGES, advise, sentence
from xray_jax.preprocess import parse
from xray_jax.samples import Samples

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(size=(700, 4, 4, 3)).astype(np.float32)


def classes(images):
    """Four classes by the brightness of two channels."""
    return (images[..., 0].mean((1, 2)) > 0.5) * 2 + (images[..., 2].mean((1, 2)) > 0.5).astype(np.int32)


def trained_with(spec, seen):
    """A model that undoes `spec` and is right, and is blind to anything outside of its range."""
    preprocess = parse(spec)
    mean, std = np.asarray(preprocess.mean), np.asarray(preprocess.std)

    def label_fn(inputs):
        seen.append(len(inputs))
        images = inputs * std + mean
        if preprocess.channel_order == "bgr":
            images = images[..., ::-1]
        return np.where(np.abs(images - 0.5).max((1, 2, 3)) > 0.51, 0, classes(images)).astype(np.int32)

    return BlackBox(label_fn, 4, (4, 4, 3), batch_size=100)


@pytest.mark.parametrize("truth", ["cifar10", "imagenet", "+-1", "0-255", "0-255-bgr", "caffe-bgr"])
def test_the_training_preset_comes_first(truth):
    seen = []
    samples = Samples(IMAGES, classes(IMAGES).astype(np.int32))
    found = advise(trained_with(truth, seen), samples)
    assert found[0][1] == 1.0
    assert truth in [name for name, accuracy in found if accuracy == 1.0]
    assert all(a[1] >= b[1] for a, b in pairwise(found))
    assert "0-1" not in dict(found), "the model's own preprocessing is known already"
    assert len({name for name, _ in found}) == len(found)
    assert max(seen) == 100
    assert sum(seen) == len(found) * MAX_IMAGES


def test_sentence_names_what_would_help_or_says_that_nothing_does():
    assert "--preprocess=imagenet (91.0%)" in sentence([("imagenet", 0.91), ("tiny", 0.2)], 0.12)
    assert "no other known" in sentence([("imagenet", 0.2)], 0.12)


def test_grey_images_get_no_channel_orders():
    grey = Samples(IMAGES[:30, ..., :1], np.arange(30, dtype=np.int32) % 3)
    found = advise(BlackBox(lambda x: np.zeros(len(x), np.int32), 3, (4, 4, 1), batch_size=30), grey)
    assert all(not name.endswith("-bgr") and name not in ("cifar10", "imagenet") for name, _ in found)
    assert {accuracy for _, accuracy in found} == {1 / 3}
