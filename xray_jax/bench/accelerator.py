"""All that is to be known of an accelerator, in one run: big networks, precisions, small networks, training."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from xray_jax.bench import forward, scans
from xray_jax.bench.harness import Figure, measure, rate, ratio
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier, plane_grid, spread
from xray_jax.classifier import Classifier
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.inference import programs
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import PRECISIONS, InferenceOptions
from xray_jax.lab.train_vmapped import train_vmapped
from xray_jax.lab.training import TrainOptions, train
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

CASE = "accelerator"
PROBE = ProbeOptions()
SMALL = "preactresnet-small"
"""The network that many checkpoints share."""


def run(options: Options) -> Iterator[Figure]:
    """For each architecture throughput and share of the peak by batch size, seconds of a model's planes and probe after
    warm-up, and agreement of labels between precisions; then small networks, one after the other and side by side by
    `vmap` over their weights, at inference and in training.
    """
    for figure in forward.run(options):
        yield dataclasses.replace(figure, case=CASE)
    for architecture in options.architectures:
        yield from _verdict(architecture, options)
        yield from _precisions(architecture, options)
    yield from _side_by_side(options)
    yield from _training(options)


@dataclass(frozen=True)
class Varied:
    """A network with random weights whose logits are standardised: else all images have one label, and the probe asks
    nothing.

    Attributes:
      network: with random weights.
    """

    network: Any

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        """Logits `[B, num_classes]`, each class's with mean 0 and deviation 1 over images of noise."""
        return (self.network.apply(variables["network"], images) - variables["mean"]) / variables["deviation"]


def varied(model: Classifier, samples: Samples) -> Classifier:
    """The model with standardised logits.

    Args:
      model: with random weights.
      samples: over which its logits are standardised.
    """
    logits = jax.device_get(jax.jit(model.network.apply)(model.variables, samples.images))
    spread = {"mean": logits.mean(0, keepdims=True), "deviation": logits.std(0, keepdims=True) + np.float32(1e-12)}
    return dataclasses.replace(model, network=Varied(model.network), variables={"network": model.variables, **spread})


def _verdict(architecture: str, options: Options) -> Iterator[Figure]:
    """Seconds of one model's planes, whole and refined, and of its probe."""
    model = classifier(architecture)
    samples = noise(model.input_shape, model.num_classes)
    prepared = prepare(
        varied(model, samples), samples, InferenceOptions(options.batch_size, precision=options.precision)
    )
    probe = Probe(PROBE)
    asked: dict[str, Callable[[], Any]] = {
        kind: scans.asker(architecture, options, kind) for kind in ("grid", "refine")
    }
    asked["probe"] = lambda: probe.detect(prepared, samples).queries
    queries = {kind: ask() for kind, ask in asked.items()}
    timings = measure(asked, options.repeats, warm_up=0)
    for kind, timing in timings.items():
        note = f"{queries[kind]:,} queries, {queries[kind] / timing.median:,.0f} a second"
        yield Figure(CASE, f"{architecture}, {kind}", timing.median, "s", timing.spread, note)


def noise(shape: tuple[int, int, int], classes: int, count: int = 200) -> Samples:
    """Images of noise in all classes.

    Args:
      shape: (height, width, channels).
      classes: number of labels.
      count: of images.
    """
    images = np.random.default_rng(0).random((count, *shape), np.float32)
    return Samples(images, np.arange(count) % classes)


def _precisions(architecture: str, options: Options) -> Iterator[Figure]:
    """Labels and time of each precision against float32's, on points of planes."""
    model = classifier(architecture)
    planes, index, coordinates, _ = plane_grid(model.input_shape, options.planes, options.density)
    part = spread(options.points, len(index))
    asked: dict[str, Callable[[], np.ndarray]] = {}
    for precision in PRECISIONS:
        inference = InferenceOptions(options.batch_size, precision=precision)
        placed = to_device(model, inference)
        asked[precision] = functools.partial(label_points, placed, planes, index[part], coordinates[part], inference)
    labels = {precision: ask() for precision, ask in asked.items()}
    timings = measure(asked, options.repeats, warm_up=0)
    for precision in PRECISIONS[1:]:
        equal = float(np.mean(labels[precision] == labels["float32"]))
        note = f"labels equal to float32's: {100 * equal:.2f} % of {len(part):,}, random weights"
        yield ratio(CASE, f"{architecture}, {precision} / float32", timings[precision], timings["float32"], note)


def _side_by_side(options: Options) -> Iterator[Figure]:
    """Images a second of small networks, each alone and all at once."""
    models = [classifier(SMALL, seed) for seed in range(options.together)]
    network = models[0].network
    resolved = InferenceOptions(options.batch_size, precision=options.precision).resolve()
    images = np.random.default_rng(0).random((options.points, *models[0].input_shape), np.float32)
    placed = jax.device_put(images, resolved.devices[0])

    def labels(variables: Any, images: jax.Array) -> jax.Array:
        return programs.hard_labels(programs.forward(network, variables, images, resolved), np.dtype(np.uint8))

    alone, together = jax.jit(labels), jax.jit(jax.vmap(labels, in_axes=(0, None)))
    each = [jax.device_put(model.variables, resolved.devices[0]) for model in models]
    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *each)
    timings = measure(
        {
            "one after the other": lambda: [jax.block_until_ready(alone(one, placed)) for one in each],
            "at once": lambda: jax.block_until_ready(together(stacked, placed)),
        },
        options.repeats,
    )
    for name, timing in timings.items():
        amount = len(models) * len(images)
        yield rate(CASE, f"{len(models)} x {SMALL}, {name}", timing, amount, "images", f"{len(images)} images each")
    what = f"{len(models)} x {SMALL}, at once / one after the other"
    yield ratio(CASE, what, timings["at once"], timings["one after the other"])


def _training(options: Options) -> Iterator[Figure]:
    """Seconds a model of one epoch on as many images as there are points."""
    model = classifier(SMALL)
    network: Any = model.network
    images = np.random.default_rng(0).integers(0, 256, (options.points, *model.input_shape), np.uint8)
    labels = np.arange(options.points) % model.num_classes
    recipes = [
        TrainOptions(epochs=1, batch_size=min(64, options.points), seed=seed) for seed in range(options.together)
    ]
    count = len(recipes)
    timings = measure(
        {
            "alone": lambda: train(network, images, labels, Preprocess(), recipes[0]),
            "together": lambda: train_vmapped(network, [images] * count, [labels] * count, Preprocess(), recipes),
        },
        options.repeats,
    )
    for name, models in (("alone", 1), ("together", count)):
        figure = rate(CASE, f"training {SMALL}, {models} {name}", timings[name], models * options.points, "images")
        yield dataclasses.replace(figure, note=f"one epoch of {options.points} images each")
