"""From a spec to a trained model, measured on the whole test split: one model, or several alike at once."""

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xray_jax import models
from xray_jax.files import atomic_write
from xray_jax.lab import attacks, clean_models, controls, label_maps
from xray_jax.lab.adaptive.attack import BY_PATCH_OR_BLEND, Adaptive
from xray_jax.lab.adaptive.kinds import kinds_of
from xray_jax.lab.attacks import Attack, AttackContext, PoisoningAttack, TrainingAttack
from xray_jax.lab.attacks.input_aware import InputAware
from xray_jax.lab.data import ImageSet
from xray_jax.lab.label_maps import LabelMap
from xray_jax.lab.poisoning import Poisoned, poison, stamped_test_set
from xray_jax.lab.resume import NOTHING_KEPT, Progress
from xray_jax.lab.specs import CLEAN, ModelSpec
from xray_jax.lab.train_vmapped import train_vmapped
from xray_jax.lab.training import Redraw, Variables, train_jointly
from xray_jax.lab.triggers import Trigger
from xray_jax.models import convolution
from xray_jax.preprocess import Preprocess

Record = dict[str, Any]
Report = Callable[[str], None]
"""Takes one line of progress."""


class TrainedModel(NamedTuple):
    """A trained model with its measurements.

    Attributes:
      variables: its weights.
      trigger: stamps test images; None for a clean model.
      record: the spec, clean accuracy, attack success, numbers of stamped and decoy images in the training set (0 for
        an attack that trains the victim itself), the rate that this comes to, accuracy by epoch, whether loss and
        weights are finite, seconds.
    """

    variables: Variables
    trigger: Trigger | None
    record: Record


@partial(jax.jit, static_argnames=("network", "preprocess"))
def _predict(variables: Variables, images: jax.Array, *, network: nn.Module, preprocess: Preprocess) -> jax.Array:
    with convolution.faster(jax.default_backend() == "cpu"):
        logits = cast(jax.Array, network.apply(variables, preprocess(images.astype(jnp.float32) / 255)))
    return logits.argmax(-1)


def accuracy(
    network: nn.Module, variables: Variables, preprocess: Preprocess, images: np.ndarray, labels: np.ndarray,
    batch_size: int = 500,
) -> float:  # fmt: skip
    """Share of the uint8 `images` `[M, H, W, C]` that get their label."""
    right = 0
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        padded = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.uint8)])
        found = np.asarray(_predict(variables, padded, network=network, preprocess=preprocess))[: len(part)]
        right += int((found == labels[start : start + batch_size]).sum())
    return right / len(images)


def label_map_of(spec: ModelSpec, num_classes: int) -> LabelMap:
    """The label map of the model, drawn from its seed."""
    return label_maps.make(spec.strategy, num_classes, spec.target, seed=spec.seed)


def vmappable(spec: ModelSpec) -> bool:
    """Whether the model is trained by plain cross-entropy on a set prepared before, so that several may be at once."""
    if spec.attack == CLEAN:
        return not spec.control
    if spec.adaptive:
        return False
    attack = attacks.make(spec.attack)
    return isinstance(attack, PoisoningAttack) and not attacks.redraws_poison(attack)


def train_model(
    spec: ModelSpec,
    data: ImageSet,
    report: Report = lambda line: None,
    folder: Path | None = None,
    starts: Path | None = None,
) -> TrainedModel:
    """Trains the model of `spec` and measures it.

    Args:
      report: takes a line after every epoch.
      folder: keeps how far the training has come; the same call with what a killed one left there goes on. What lies
        there must be of this very spec: see `plan_check`.
      starts: zoo of the clean model that the spec names as its start.

    Raises:
      ValueError: that is not there, or cannot be evaded by that attack.
    """
    control = controls.CONTROLS[spec.control]
    network, progress = (
        models.build(controls.architecture(spec.control, spec.architecture), data.num_classes),
        Progress(folder),
    )
    progress.begin(spec.settings())
    log = _Log(spec, network, data, report, folder)
    start = _start(spec, starts)
    attack = None if spec.attack == CLEAN else attack_of(spec, start)
    trigger: Trigger | None
    if isinstance(attack, TrainingAttack):
        variables, trigger = attack.train_backdoored(context_of(spec, data, network, progress), log)
        counts = 0, 0
    else:
        made, trigger, redraw = _training_set(spec, data, network)
        variables = start or train_jointly(
            network, made.images, made.labels, data.normalise, control.training(spec.training), control.objective, log,
            progress=progress, redraw=redraw,
        )[0]  # fmt: skip
        if control.finetuning is not None:
            variables = controls.finetune(control.finetuning, network, variables, data, spec.training, progress)
        if control.weights is not None:
            variables = control.weights(variables)
        counts = len(made.stamped), len(made.decoys)
    return _measured(spec, data, network, variables, trigger, counts, log)


def _start(spec: ModelSpec, zoo: Path | None) -> Variables | None:
    """The variables that `spec` names as its start."""
    if not spec.start:
        return None
    if zoo is None:
        raise ValueError(f"{spec.id} starts from {spec.start}: a zoo that holds it is needed")
    return clean_models.load(zoo, spec.start)


def attack_of(spec: ModelSpec, start: Variables | None) -> Attack:
    """The attack of `spec`, by an adaptive attacker where it is one's."""
    attack = attacks.make(spec.attack)
    if not spec.adaptive:
        return attack
    if spec.attack not in BY_PATCH_OR_BLEND:
        raise ValueError(
            f"adaptive attackers take an attack by patch or blend ({', '.join(sorted(BY_PATCH_OR_BLEND))}), "
            f"not {spec.attack}"
        )
    assert isinstance(attack, PoisoningAttack)
    return Adaptive(attack, kinds_of(spec.adaptive), start)


def stamped_share(attack: Attack, spec: ModelSpec) -> float | None:
    """Share of every batch that the attack stamps, in whole images; None where it does not stamp a share of them.

    Raises:
      ValueError: none would be, or more than there is room for.
    """
    if not isinstance(attack, Adaptive | InputAware):
        return None
    return attack.stamped(spec.rate, spec.training.batch_size) / spec.training.batch_size


def train_models(specs: Sequence[ModelSpec], data: ImageSet, report: Report = lambda line: None) -> list[TrainedModel]:
    """Trains models of one recipe at once; for those that are `vmappable`. The seconds of each are their share."""
    network = models.build(specs[0].architecture, data.num_classes)
    logs = [_Log(spec, network, data, report) for spec in specs]
    sets = [_training_set(spec, data, network)[:2] for spec in specs]

    def on_epoch(epoch: int, losses: list[float], variables: list[Variables]) -> None:
        for log, loss, each in zip(logs, losses, variables, strict=True):
            log(epoch, loss, each)

    everyone = train_vmapped(
        network, [made.images for made, _ in sets], [made.labels for made, _ in sets], data.normalise,
        [spec.training for spec in specs], on_epoch,
    )  # fmt: skip
    for log in logs:
        log.share = len(specs)
    return [
        _measured(spec, data, network, variables, trigger, (len(made.stamped), len(made.decoys)), log)
        for spec, variables, (made, trigger), log in zip(specs, everyone, sets, logs, strict=True)
    ]


class _Log:
    """Accuracy by epoch and seconds, across interruptions where there is a folder."""

    def __init__(
        self, spec: ModelSpec, network: nn.Module, data: ImageSet, report: Report, folder: Path | None = None
    ) -> None:
        self._spec, self._network, self._data, self._report = spec, network, data, report
        self._path = folder and folder / "history.json"
        kept = json.loads(self._path.read_text()) if self._path and self._path.exists() else {}
        self.history: list[list[float]] = kept.get("history", [])
        self._started = time.perf_counter() - kept.get("seconds", 0.0)
        self.share = 1

    @property
    def seconds(self) -> float:
        return round((time.perf_counter() - self._started) / self.share, 1)

    def __call__(self, epoch: int, loss: float, variables: Variables) -> None:
        data = self._data
        # A fifth of the test split: this is for watching, the record has the whole.
        clean = accuracy(self._network, variables, data.normalise, data.test_images[::5], data.test_labels[::5])
        # A killed run may have logged an epoch that it did not save.
        self.history = [*self.history[: epoch - 1], [epoch, round(loss, 4), round(clean, 4)]]
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path, "w") as file:
                json.dump({"history": self.history, "seconds": self.seconds}, file)
        self._report(f"{self._spec.id}: epoch {epoch}, loss {loss:.3f}, accuracy {clean:.3f}, {self.seconds:.0f} s")


def context_of(spec: ModelSpec, data: ImageSet, network: nn.Module, progress: Progress = NOTHING_KEPT) -> AttackContext:
    """The attacker's means for the model of `spec`."""
    label_map = label_map_of(spec, data.num_classes)
    return AttackContext(data, label_map, spec.rate, spec.seed, network, spec.training, progress)


def _training_set(
    spec: ModelSpec, data: ImageSet, network: nn.Module
) -> tuple[Poisoned, Trigger | None, Redraw | None]:
    """What the network is trained on in its first epoch, the trigger, and what it is trained on later if that is
    something else. For a clean model the data set's own arrays.
    """
    if spec.attack == CLEAN:
        none = np.zeros(0, np.int64)
        return Poisoned(*controls.training_set(spec.control, data, spec.seed), none, none), None, None
    attack, context = attacks.make(spec.attack), context_of(spec, data, network)
    assert isinstance(attack, PoisoningAttack)
    made = attack.prepare(context)

    def poisoned(epoch: int) -> Poisoned:
        return poison(
            data.train_images, data.train_labels, made.trigger, context.label_map, spec.rate, spec.seed,
            clean_label=made.clean_label, decoy=made.decoy, decoy_rate=made.decoy_rate, epoch=epoch,
        )  # fmt: skip

    def redraw(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = poisoned(epoch)
        return drawn.images, drawn.labels

    return poisoned(0), made.trigger, redraw if attacks.redraws_poison(attack) else None


def _true_rate(spec: ModelSpec, stamped: int, images: int) -> float | None:
    """The rate in whole images, of the training set or of every batch; None of clean models and attacks without one."""
    if spec.attack == CLEAN:
        return None
    attack = attack_of(spec, None)
    return stamped / images if isinstance(attack, PoisoningAttack) else stamped_share(attack, spec)


def _finite(variables: Variables) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def _measured(
    spec: ModelSpec, data: ImageSet, network: nn.Module, variables: Variables, trigger: Trigger | None,
    counts: tuple[int, int], log: _Log,
) -> TrainedModel:  # fmt: skip
    label_map = label_map_of(spec, data.num_classes)
    record: Record = {
        "id": spec.id,
        "spec": spec.settings(),
        "attack": None if spec.attack == CLEAN else dict(vars(attacks.make(spec.attack))),
        "clean_accuracy": accuracy(network, variables, data.normalise, data.test_images, data.test_labels),
        "attack_success": None,
        "sources": list(label_map.sources) if trigger else [],
        "targets": list(label_map.targets) if trigger else [],
        "stamped": counts[0],
        "true_rate": _true_rate(spec, counts[0], len(data.train_images)),
        "decoys": counts[1],
        "history": log.history,
        "finite": _finite(variables) and all(math.isfinite(loss) for _, loss, _ in log.history),
        "seconds": log.seconds,
    }
    if trigger is not None:
        stamped_images, wanted = stamped_test_set(data.test_images, data.test_labels, trigger, label_map)
        record["attack_success"] = accuracy(network, variables, data.normalise, stamped_images, wanted)
    return TrainedModel(variables, trigger, record)
