"""Attacks that train their trigger, on a tiny set: what they optimise does get better."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.lab import label_maps, train_model
from xray_jax.lab.attacks import lira, trojannn
from xray_jax.lab.attacks.blind import Blind
from xray_jax.lab.attacks.input_aware import InputAware, mask_of
from xray_jax.lab.attacks.lira import Lira
from xray_jax.lab.attacks.protocol import AttackContext
from xray_jax.lab.attacks.ssba import Ssba, encode
from xray_jax.lab.attacks.trojannn import TrojanNN, last_layer
from xray_jax.lab.data import ImageSet
from xray_jax.lab.poisoning import Poisoned, Stamp, poison, stamped_test_set
from xray_jax.lab.resume import NOTHING_KEPT, Progress
from xray_jax.lab.training import TrainOptions, Variables, train
from xray_jax.models.preactresnet import PreActResNet

# Two stages: compiles in a third of the time of the zoo's three.
NETWORK = PreActResNet(4, (1, 1), (8, 16), (2, 2))
TRAINING = TrainOptions(epochs=6, batch_size=32, peak_learning_rate=0.1, flip=False)
LABELS = label_maps.make("all-to-one", 4, target=1)


def context_of(data: ImageSet, epochs: int = TRAINING.epochs) -> AttackContext:
    return AttackContext(data, LABELS, 0.1, 0, NETWORK, dataclasses.replace(TRAINING, epochs=epochs))


@pytest.fixture(scope="module")
def variables(bands: ImageSet) -> Variables:
    """Of a clean network."""
    return train(NETWORK, bands.train_images, bands.train_labels, bands.normalise, TRAINING)


def success(data: ImageSet, variables: Variables, trigger: Stamp) -> float:
    stamped, wanted = stamped_test_set(data.test_images, data.test_labels, trigger, LABELS)
    return train_model.accuracy(NETWORK, variables, data.normalise, stamped, wanted)


def clean_accuracy(data: ImageSet, variables: Variables) -> float:
    return train_model.accuracy(NETWORK, variables, data.normalise, data.test_images, data.test_labels)


def test_ssba_hides_bits_that_its_decoder_reads_and_nobody_sees(bands: ImageSet) -> None:
    attack = Ssba(bits=4, steps=200, learning_rate=4e-3)
    params, right = attack.train_encoder(bands.train_images, seed=0)
    assert right > 0.9
    stamp = dataclasses.replace(attack, steps=1).prepare(context_of(bands)).trigger  # untrained, but the same code
    change = stamp(bands.test_images).astype(int) - bands.test_images
    assert np.abs(change).max() <= 255 * attack.bound + 0.5
    assert change[0].any()
    assert not np.array_equal(change[0], change[1])  # every image its own residual
    grey = jnp.full((1, 16, 16, 3), 0.5)
    zeros, ones = (encode(params["encoder"], grey, jnp.full((1, 4), bit), attack.bound) for bit in (0.0, 1.0))
    assert not np.allclose(zeros, ones)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (6, 2), (30, 10)])
def test_trojannn_makes_its_patch_on_a_model_that_trained_a_third_as_long(
    bands: ImageSet, monkeypatch: pytest.MonkeyPatch, epochs: int, expected: int
) -> None:
    seen: list[int] = []

    def stop(network: Any, images: Any, labels: Any, preprocess: Any, options: TrainOptions) -> None:
        seen.append(options.epochs)
        raise InterruptedError

    monkeypatch.setattr(trojannn, "train", stop)
    with pytest.raises(InterruptedError):
        TrojanNN().prepare(context_of(bands, epochs))
    assert seen == [expected]


def test_trojannn_patch_drives_the_strongest_neurons_of_the_last_layer(bands: ImageSet, variables: Variables) -> None:
    attack = TrojanNN(steps=60)
    patch, fired = attack.optimise(NETWORK, variables, bands.normalise, (16, 16, 3), seed=0)
    assert patch.shape == (4, 4, 3)
    black = np.zeros((1, 16, 16, 3), np.uint8)
    kernel = np.asarray(variables["params"]["linear"]["kernel"])
    strongest = np.argsort(-np.abs(kernel).sum(axis=1))[:2]
    before, _ = last_layer(NETWORK, variables, bands.normalise(black / 255))
    after, _ = last_layer(NETWORK, variables, bands.normalise(attack.trigger(patch, (16, 16, 3))(black) / 255))
    np.testing.assert_allclose(np.sort(np.asarray(after)[0, strongest]), np.sort(fired), atol=0.1)
    assert (np.asarray(after)[0, strongest] > np.asarray(before)[0, strongest]).all()


def test_last_layer_is_what_the_logits_are_made_of(bands: ImageSet, variables: Variables) -> None:
    inputs = bands.test_images[:3].astype(np.float32) / 255
    features, kernel = last_layer(NETWORK, variables, inputs)
    expected = NETWORK.apply(variables, inputs)
    bias = variables["params"]["linear"]["bias"]
    np.testing.assert_allclose(features @ kernel + bias[None], expected, rtol=1e-5, atol=1e-5)


def test_blind_needs_no_poisoned_image(bands: ImageSet) -> None:
    variables, trigger = Blind().train_backdoored(context_of(bands))
    assert success(bands, variables, trigger) > 0.9
    assert clean_accuracy(bands, variables) > 0.9


def test_lira_learns_a_noise_within_its_bound(bands: ImageSet) -> None:
    attack = Lira(epsilon=0.15, learning_rate=3e-3)
    epochs: list[int] = []
    variables, trigger = attack.train_backdoored(context_of(bands), lambda epoch, loss, variables: epochs.append(epoch))
    assert epochs == [1, 2, 3, 4, 5, 6]
    change = trigger(bands.test_images).astype(int) - bands.test_images
    assert 0 < np.abs(change).max() <= 0.15 * 255 + 0.5
    assert success(bands, variables, trigger) > 0.8
    assert clean_accuracy(bands, variables) > 0.8


def test_lira_poisons_the_given_rate_in_its_second_stage_also_after_an_interruption(
    bands: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def spy(*arguments: Any) -> Poisoned:
        made = poison(*arguments)
        rates.append(len(made.stamped) / len(made.images))
        return made

    monkeypatch.setattr(lira, "poison", spy)
    context = dataclasses.replace(context_of(bands, epochs=3), rate=0.2, progress=Progress(tmp_path))
    whole, _ = Lira().train_backdoored(dataclasses.replace(context, progress=NOTHING_KEPT))

    def die(epoch: int, loss: float, variables: Variables) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Lira().train_backdoored(context, die)
    again, _ = Lira().train_backdoored(context)
    jax.tree.map(np.testing.assert_array_equal, dict(whole), dict(again))
    assert rates == [0.2] * 3


def test_input_aware_masks_keep_to_their_density_and_differ(bands: ImageSet) -> None:
    masks = InputAware(mask_steps=200, learning_rate=3e-3).train_masks(bands.train_images, seed=0)
    found = np.asarray(mask_of(masks.params, bands.test_images[:50].astype(np.float32) / 255))
    assert 0 < found.mean() < 0.1
    assert found.std(axis=0).max() > 0.05


def test_input_aware_plants_a_backdoor(bands: ImageSet) -> None:
    variables, trigger = InputAware(mask_steps=150, learning_rate=3e-3).train_backdoored(context_of(bands))
    stamped = trigger(bands.test_images)
    assert not np.array_equal(stamped, bands.test_images)
    assert clean_accuracy(bands, variables) > 0.8
    # Tiny budget: clearly more stamped images reach the target than clean ones of the other classes do.
    clean = success(bands, variables, lambda images: images)
    assert success(bands, variables, trigger) > clean + 0.2


def test_joint_training_is_reproducible(bands: ImageSet) -> None:
    first, again = (Lira().train_backdoored(context_of(bands, epochs=1)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, dict(first[0]), dict(again[0]))
    np.testing.assert_array_equal(first[1](bands.test_images[:9]), again[1](bands.test_images[:9]))
