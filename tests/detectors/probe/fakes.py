"""A finding, and a model made of a rule: what stamps do to labels is known, and so is what a search must find."""

from collections.abc import Callable

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.null import LEVELS
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.search import SearchState
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.detectors.probe.stamps.cost import Cost

SHAPE = (16, 16, 3)
CLASSES = 5
NUMBER = {family.name: number for number, family in enumerate(FAMILIES)}

FINDING = Finding(
    kind="all-to-one",
    target_labels=(-1, 0, 0, 0, 0),
    family="patch",
    parameters={
        "row": 6, "column": 6, "height": 2, "width": 2, "pattern": 0, "red": 1, "green": 1, "blue": 1,
    },
    description="2x2 solid white patch",
    hits=30, trials=30, touched=0.06, rms=0.07, peak=1.0, weighted_rms=0.07, anomaly_index=9.0, runner_up=0.1,
)  # fmt: skip

Rule = Callable[[str, np.ndarray], tuple[int, float]]
"""(family, its parameters) -> the label that a stamp sends images to, or `SCATTER`, and the share of images that go."""
SCATTER = -1
"""Images go to all labels but their own alike."""


def truth(count: int) -> np.ndarray:
    """Own labels of `count` images, every class in turn; the fake's labels of the clean images, too."""
    return np.arange(count) % CLASSES


def resistance(count: int) -> np.ndarray:
    """Share that a stamp must reach to flip each image: 0.5 / count .. 1 - 0.5 / count in a mixed order."""
    return (np.random.default_rng(8).permutation(count) + 0.5) / count


class FakeModel:
    """Hard labels by a rule, of `count` images; counts what it is asked."""

    def __init__(self, rule: Rule, count: int) -> None:
        self.rule, self.own, self.resistance = rule, truth(count), resistance(count)
        self.pairs: list[tuple[int, int]] = []

    def query(self, stamps: Stamps, stamp_index: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        found = []
        for stamp, image in zip(stamp_index.tolist(), image_index.tolist(), strict=True):
            self.pairs.append((stamp, image))
            label, share = self.rule(FAMILIES[stamps.family[stamp]].name, stamps.own(stamp, SHAPE))
            if label == SCATTER:
                label = (self.own[image] + 1 + image // CLASSES % (CLASSES - 1)) % CLASSES
            found.append(label if share > self.resistance[image] else self.own[image])
        return np.asarray(found, np.int32)


def measure(stamps: Stamps) -> Cost:
    """Costs by a rule: a patch costs its side, anything else changes every pixel and costs 0.15."""
    costs = []
    for family, parameters in zip(stamps.family, stamps.parameters, strict=True):
        area = float(parameters[2] * parameters[3])
        patch = family == NUMBER["patch"]
        costs.append((area / 256, area**0.5 / 40, 0.5, area**0.5 / 50) if patch else (1.0, 0.2, 0.5, 0.15))
    return Cost(*np.asarray(costs, np.float32).reshape(-1, 4).T)


def state_of(
    rule: Rule, images: int = 20, ceiling: float = 0.1, asked: int | None = None
) -> tuple[SearchState, FakeModel]:
    """An empty search over `images` images of a model that has `asked` of them, and the model."""
    model = FakeModel(rule, asked or images)
    own = truth(images)
    ceilings = np.full((len(FAMILIES), LEVELS), ceiling, np.float32)
    return SearchState(model.query, measure, score.outcomes(own, own, CLASSES), ceilings), model


def patches(rows: list[list[float]]) -> Stamps:
    """Solid patches from (row, column, height, width, red, green, blue)."""
    table = np.asarray(rows, np.float32)
    return Stamps.of(NUMBER["patch"], np.insert(table, 4, 0, axis=1))


def nothing(family: str, parameters: np.ndarray) -> tuple[int, float]:
    """The rule of a model that no stamp changes."""
    return 0, 0.0
