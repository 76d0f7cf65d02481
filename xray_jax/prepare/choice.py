"""Preprocessing and network variant chosen together by errors on the clean samples, where neither is known."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Classifier, Model
from xray_jax.inference.labels import bare, label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare.preprocessing import USUAL, candidates, same_in_effect, skill
from xray_jax.prepare.variant import choose_variant, clearly_fewer, with_variant
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

MAX_IMAGES = 300
FIRST_IMAGES = 100
"""Every preset is tried on so many images; the best `FINALISTS` on all."""
FINALISTS = 4
JOINT = 3
"""Presets whose network variant is searched, where variants are open."""
LEAST_SKILL = 0.5
"""A chosen preprocessing is doubtful when the model's skill (chance 0, no error 1) stays under this."""
MOST_DISAGREEMENT = 0.1
"""A tie is no doubt where the labels under both agree on all but this share of the images."""


@dataclass(frozen=True)
class PreprocessChoice:
    """Which preprocessing the clean samples chose, and how sure that is.

    Attributes:
      name: for `--preprocess`.
      accuracy: clean accuracy under it, 0 to 1.
      tried: how many presets were tried.
      images: clean samples that the best of them were tried on.
      runner_up: the best of those that are not the same in effect; None without one.
      runner_up_accuracy: clean accuracy under it.
      doubt: why it may be wrong, a sentence; None where it is plain.
    """

    name: str
    accuracy: float
    tried: int
    images: int
    runner_up: str | None
    runner_up_accuracy: float | None
    doubt: str | None

    @property
    def note(self) -> str:
        """One sentence for the row."""
        text = f"preprocessing {self.name} chosen of {self.tried}: {self.accuracy:.1%} of {self.images} samples right"
        if self.runner_up is not None:
            text += f" (runner-up {self.runner_up}: {self.runner_up_accuracy:.1%})"
        return text if self.doubt is None else f"{text}; {self.doubt}"


@dataclass
class Trials:
    """Labels of the clean samples under preprocessings and network variants, each asked for once.

    Attributes:
      model: on the devices.
      samples: at most `MAX_IMAGES` clean samples.
      options: how queries run.
      queries: labels asked for so far.
    """

    model: Model
    samples: Samples
    options: InferenceOptions
    queries: int = 0
    _labels: dict[tuple[Preprocess, Any, bool], np.ndarray] = field(default_factory=dict)
    _inputs: dict[tuple[Preprocess, bool], np.ndarray] = field(default_factory=dict)

    def labels(self, preprocess: Preprocess, network: Any = None, first: bool = False) -> np.ndarray:
        """Labels `[n]`; `network` None is the model's own, `first` asks for `FIRST_IMAGES` spread evenly only."""
        key = preprocess, network, first
        if key not in self._labels:
            model = self.model if network is None else self._with(network)
            if preprocess == self.model.preprocess:
                found = label_images(model, self._chosen(first).images, self.options)
            else:
                # The network is compiled once for all preprocessings: they are applied before it.
                found = label_images(bare(model), self._input(preprocess, first), self.options)
            self.queries += len(found)
            self._labels[key] = found
        return self._labels[key]

    def errors(self, preprocess: Preprocess, network: Any = None, first: bool = False) -> int:
        """How many of these samples get a wrong label."""
        return int(np.sum(self.labels(preprocess, network, first) != self._chosen(first).labels))

    def accuracy(self, preprocess: Preprocess, network: Any = None) -> float:
        """Share of all samples that get their own label."""
        return 1 - self.errors(preprocess, network) / len(self.samples)

    def _with(self, network: Any) -> Classifier:
        assert isinstance(self.model, Classifier)
        return dataclasses.replace(self.model, network=network, variants=None)

    def _chosen(self, first: bool) -> Samples:
        return spread(self.samples, FIRST_IMAGES) if first else self.samples

    def _input(self, preprocess: Preprocess, first: bool) -> np.ndarray:
        if (preprocess, first) not in self._inputs:
            self._inputs[preprocess, first] = np.asarray(preprocess(jnp.asarray(self._chosen(first).images)))
        return self._inputs[preprocess, first]


def spread(samples: Samples, count: int) -> Samples:
    """At most `count` of the samples, spread evenly."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), count))
    return samples.subset(np.unique(places.round().astype(int)))


def settle_variant(trials: Trials) -> Model:
    """The model with its network variant chosen under its own preprocessing."""
    model = trials.model
    if not isinstance(model, Classifier) or model.variants is None:
        return model
    asked: set[Any] = set()

    def errors(network: Any) -> int:
        asked.add(network)
        return trials.errors(model.preprocess, network)

    best = choose_variant(model, errors)
    if not asked:
        return dataclasses.replace(model, variants=None)
    return with_variant(model, best, _variant_note(trials, model, best, model.preprocess, len(asked)))


def settle_both(trials: Trials) -> tuple[Model, PreprocessChoice]:
    """The model with preprocessing and network variant chosen together.

    Presets are tried under the usual variant, the best few with the variants, and all once more under the variant
    found: a wrong variant may hide the right preset, and the other way round.
    """
    model = trials.model
    presets = candidates(trials.samples.images.shape[-1], model.preprocess)
    ranked = _ranked(trials, presets, None)
    name, network, asked = ranked[0], None, 0
    if isinstance(model, Classifier) and model.variants is not None:
        found = [(*_variant_under(trials, model, presets[each]), each) for each in ranked[:JOINT]]
        (_, network, asked, name) = min(found, key=lambda each: each[0])
        name = _ranked(trials, presets, network)[0]
        _, network, again = _variant_under(trials, model, presets[name])
        asked = max(asked, again)
    choice = _judged(trials, presets, name, network)
    preprocess = presets[name]
    chosen: Model = dataclasses.replace(
        model, preprocess=preprocess, preprocess_source="chosen", notes=(*model.notes, choice.note)
    )
    if isinstance(chosen, Classifier) and chosen.variants is not None:
        if asked:
            note = _variant_note(trials, model, network, preprocess, asked)
            chosen = with_variant(chosen, network, note)
        else:
            chosen = dataclasses.replace(chosen, variants=None)
    return chosen, choice


def _variant_under(trials: Trials, model: Model, preprocess: Preprocess) -> tuple[int, Any, int]:
    """Errors of the best variant under a preprocessing, that variant, and how many were asked."""
    assert isinstance(model, Classifier)
    asked: set[Any] = set()

    def errors(network: Any) -> int:
        asked.add(network)
        return trials.errors(preprocess, network)

    best = choose_variant(model, errors)
    return trials.errors(preprocess, best), best, len(asked)


def _variant_note(trials: Trials, model: Model, best: Any, preprocess: Preprocess, asked: int) -> str:
    assert isinstance(model, Classifier)
    usual = trials.accuracy(preprocess, model.network)
    return (
        f"of {asked} variants that fit the weights the one that labels most of {len(trials.samples)} samples right, "
        f"{trials.accuracy(preprocess, best):.1%}; the most usual one: {usual:.1%}"
    )


def _ranked(trials: Trials, presets: dict[str, Preprocess], network: Any) -> list[str]:
    """Names of the presets, best first; the usual one yields only to clearly fewer errors."""
    early = {name: trials.errors(preset, network, first=True) for name, preset in presets.items()}
    finalists = sorted(presets, key=lambda name: early[name])[:FINALISTS]
    if USUAL not in finalists:
        finalists.append(USUAL)
    errors = {name: trials.errors(presets[name], network) for name in finalists}
    ranked = sorted(finalists, key=lambda name: errors[name])
    if not clearly_fewer(errors[ranked[0]], errors[USUAL]):
        ranked = [USUAL, *(name for name in ranked if name != USUAL)]
    return ranked


def _judged(trials: Trials, presets: dict[str, Preprocess], name: str, network: Any) -> PreprocessChoice:
    """The choice with its runner-up and what speaks against it."""
    own, labels = presets[name], trials.labels(presets[name], network)
    others = [other for other, preset in presets.items() if not same_in_effect(own, preset)]
    close = sorted(others, key=lambda other: trials.errors(presets[other], network, first=True))[:FINALISTS]
    runner_up = min(close, key=lambda other: trials.errors(presets[other], network), default=None)
    accuracy = trials.accuracy(own, network)
    doubt, reached = None, None
    if skill(accuracy, trials.model.num_classes) < LEAST_SKILL:
        doubt = "a network that was shown what it was trained on reaches more: give --preprocess"
    if runner_up is not None:
        reached = trials.accuracy(presets[runner_up], network)
        tie = not clearly_fewer(trials.errors(own, network), trials.errors(presets[runner_up], network))
        differing = float(np.mean(labels != trials.labels(presets[runner_up], network)))
        if doubt is None and tie and differing > MOST_DISAGREEMENT:
            doubt = f"{runner_up} does about as well and gives {differing:.0%} of them another label: give --preprocess"
    return PreprocessChoice(name, accuracy, len(presets), len(trials.samples), runner_up, reached, doubt)
