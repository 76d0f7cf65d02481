"""Preprocessing and network variant chosen together by errors on the clean samples, where neither is known.

Presets are tried on `FIRST_IMAGES`, the usual one (0-1) and the best `FINALISTS` on all; of those that are the same in
effect the first stands for all, so that small differences do not show checkpoints of one training different images.
The usual one yields only to clearly fewer errors, and so does RGB to BGR. The choice is doubtful where even the best
makes too many errors for a network that was shown what it was trained on, or where the samples do not tell it from a
preset that gives them other labels.

A wrong variant may hide the right preset, and the other way round: where the variant is open too it is searched under
every preset, on the first images, before presets are compared.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import BlackBox, Classifier, Model
from xray_jax.inference.labels import bare, label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare.preprocessing import USUAL, candidates, differing, skill
from xray_jax.prepare.variant import choose_variant, with_variant
from xray_jax.preprocess import CHANNEL_ORDERS, Preprocess
from xray_jax.samples import Samples

MAX_IMAGES = 300
FIRST_IMAGES = 100
"""Every preset is tried on so many images."""
FINALISTS = 4
"""The best presets, beside the usual one, that are tried on all images."""
CLEAR = 1.645
"""Standard deviations of luck by which errors are clearly fewer: one-sided, 5 %."""
TIE = 1.0
"""Standard deviations of luck within which two presets tie."""
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
      runner_up: the best of the others, none of which is the same in effect; None without one.
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
    _labels: dict[tuple[Preprocess, Any, int], np.ndarray] = field(default_factory=dict)

    @property
    def networks(self) -> int:
        """How many network variants were tried."""
        return len({network for _, network, _ in self._labels})

    def labels(self, preprocess: Preprocess, network: Any = None, first: bool = False) -> np.ndarray:
        """Labels `[n]`, int64; -1 where a black box refuses what it is shown.

        Args:
          preprocess: what the samples go through.
          network: a variant; None is the model's own.
          first: only `FIRST_IMAGES` samples, spread evenly.
        """
        if network is None and isinstance(self.model, Classifier):
            network = self.model.network
        chosen = self._chosen(first)
        key = preprocess, network, len(chosen)
        if key not in self._labels:
            self.queries += len(chosen)
            self._labels[key] = self._query(preprocess, network, chosen.images)
        return self._labels[key]

    def errors(self, preprocess: Preprocess, network: Any = None, first: bool = False) -> int:
        """How many of these samples get a wrong label."""
        return int(np.sum(self.labels(preprocess, network, first) != self._chosen(first).labels))

    def accuracy(self, preprocess: Preprocess, network: Any = None) -> float:
        """Share of all samples that get their own label."""
        return 1 - self.errors(preprocess, network) / len(self.samples)

    def better(self, one: tuple[Preprocess, Any], other: tuple[Preprocess, Any], deviations: float) -> bool:
        """Whether (preprocessing, network) `one` makes fewer errors than `other`, by so many standard deviations.

        Only samples that one of the two gets right count, as tosses of a coin: the sign test.
        """
        right, others_right = (self.labels(*each) == self.samples.labels for each in (one, other))
        won, lost = int(np.sum(right & ~others_right)), int(np.sum(others_right & ~right))
        return won > lost and won - lost >= deviations * math.sqrt(won + lost)

    def _chosen(self, first: bool) -> Samples:
        return spread(self.samples, FIRST_IMAGES) if first else self.samples

    def _query(self, preprocess: Preprocess, network: Any, images: np.ndarray) -> np.ndarray:
        model = self.model
        if isinstance(model, Classifier):
            model = dataclasses.replace(model, network=network, variants=None)
        if preprocess != model.preprocess:
            # The network is compiled once for all preprocessings: they are applied before it.
            model, images = bare(model), np.asarray(preprocess(jnp.asarray(images)))
        try:
            return label_images(model, images, self.options).astype(np.int64)
        except Exception:
            # A service may refuse numbers out of its range in any way it likes; one that refuses everything fails
            # when it is asked under what was chosen.
            if not isinstance(model, BlackBox):
                raise
            return np.full(len(images), -1)


def spread(samples: Samples, count: int) -> Samples:
    """At most `count` of the samples, spread evenly."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), count))
    return samples.subset(np.unique(places.round().astype(int)))


def settle(trials: Trials, unusual: bool = False) -> tuple[Model, PreprocessChoice | None]:
    """The model with what it leaves open chosen: its network variant, and its preprocessing where nobody says it.

    Args:
      unusual: tries the unusual variants too. Only the usual preprocessing and the best under the usual variants are
        tried with them.
    """
    model = trials.model
    if model.preprocess_source == "assumed":
        return _settle_both(trials, unusual)
    if isinstance(model, Classifier) and model.variants is not None:
        best = _variant_under(trials, model, model.preprocess, unusual=unusual)
        return _with_variant(trials, model, best, model.preprocess), None
    return model, None


def _settle_both(trials: Trials, unusual: bool) -> tuple[Model, PreprocessChoice]:
    """The model with preprocessing and network variant chosen together.

    With n samples of which m are the first ones, D presets that differ in effect and F = `FINALISTS` + 1, at most
    D m + F n labels are queried; with V variants D V m + (V + F + 2) n more.
    """
    model, network = trials.model, None
    every = candidates(trials.samples.images.shape[-1], model.preprocess)
    presets = {name: every[name] for name in differing(every, every)}
    opened = model if isinstance(model, Classifier) and model.variants is not None else None
    if opened is not None:
        network = _variant_under_any(trials, opened, presets)
    ranked = _ranked(trials, presets, network)
    if opened is not None and unusual:
        network = _variant_under_any(trials, opened, {name: presets[name] for name in ranked}, unusual)
        ranked = _ranked(trials, presets, network)
    own = presets[ranked[0]]
    if opened is not None:
        again = _variant_under(trials, opened, own, unusual=unusual)
        network = min(network, again, key=lambda each: trials.errors(own, each))
    choice = _judged(trials, presets, ranked, network)
    notes = (*model.notes, choice.note)
    chosen: Model = dataclasses.replace(model, preprocess=own, preprocess_source="chosen", notes=notes)
    if isinstance(chosen, Classifier) and chosen.variants is not None:
        chosen = _with_variant(trials, chosen, network, own)
    return chosen, choice


def _variant_under(
    trials: Trials, model: Classifier, preprocess: Preprocess, first: bool = False, unusual: bool = False
) -> Any:
    """The network variant that labels the samples best under a preprocessing."""
    return choose_variant(model, lambda network: trials.errors(preprocess, network, first), unusual)


def _variant_under_any(trials: Trials, model: Classifier, presets: dict[str, Preprocess], unusual: bool = False) -> Any:
    """The network variant of the best pair of a variant and a preset; that of the usual preset among equals."""
    found = {name: _variant_under(trials, model, preset, True, unusual) for name, preset in presets.items()}
    best = min(presets, key=lambda name: trials.errors(presets[name], found[name], first=True))
    clear = trials.better((presets[best], found[best]), (presets[USUAL], found[USUAL]), CLEAR)
    return found[best if clear else USUAL]


def _with_variant(trials: Trials, model: Classifier, best: Any, preprocess: Preprocess) -> Classifier:
    """The model with this variant, and a note where others were tried."""
    tried = trials.networks
    if tried < 2:
        return dataclasses.replace(model, variants=None)
    note = (
        f"of {tried} variants that fit the weights the one that labels most of {len(trials.samples)} samples right, "
        f"{trials.accuracy(preprocess, best):.1%}; the most usual one: {trials.accuracy(preprocess, model.network):.1%}"
    )
    return with_variant(model, best, note)


def _ranked(trials: Trials, presets: dict[str, Preprocess], network: Any) -> list[str]:
    """Names of the presets that were tried on all images, the chosen one first, then by errors."""
    early = sorted(presets, key=lambda name: trials.errors(presets[name], network, first=True))
    finalists = list(dict.fromkeys([USUAL, *early]))[: FINALISTS + 1]
    ranked = sorted(finalists, key=lambda name: trials.errors(presets[name], network))
    best = USUAL
    for order in CHANNEL_ORDERS:
        candidate = next((name for name in ranked if presets[name].channel_order == order), best)
        if trials.better((presets[candidate], network), (presets[best], network), CLEAR):
            best = candidate
    return [best, *(name for name in ranked if name != best)]


def _judged(trials: Trials, presets: dict[str, Preprocess], ranked: list[str], network: Any) -> PreprocessChoice:
    """The first of the ranked presets, with its runner-up and what speaks against it."""
    name, own = ranked[0], presets[ranked[0]]
    accuracy, labels = trials.accuracy(own, network), trials.labels(own, network)
    others = sorted(ranked[1:], key=lambda other: trials.errors(presets[other], network))
    doubt = None
    if skill(accuracy, trials.model.num_classes) < LEAST_SKILL:
        doubt = "a network that was shown what it was trained on reaches more: give --preprocess"
    for other in others:
        changed = float(np.mean(labels != trials.labels(presets[other], network)))
        told = trials.better((own, network), (presets[other], network), TIE)
        if doubt is None and not told and changed > MOST_DISAGREEMENT:
            doubt = f"the samples do not tell it from {other}, which gives {changed:.0%} of them another label"
            doubt += ": give --preprocess"
    runner_up = others[0] if others else None
    reached = None if runner_up is None else trials.accuracy(presets[runner_up], network)
    return PreprocessChoice(name, accuracy, len(presets), len(trials.samples), runner_up, reached, doubt)
