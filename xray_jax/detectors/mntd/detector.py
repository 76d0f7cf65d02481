"""MNTD as a detector (Xu et al., IEEE S&P 2021): tuned queries, their logits, a meta-classifier."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.mntd.meta_classifier import MetaClassifier
from xray_jax.inference.labels import PreprocessedImages
from xray_jax.inference.whitebox import label_logits
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError

NAME = "mntd"


class Mntd:
    """MNTD with a trained meta-classifier. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "mntd".
      access: logits.
      meta: what scores a model.
    """

    name = NAME
    access = Access.LOGITS

    def __init__(self, meta: MetaClassifier) -> None:
        self.meta = meta

    def settings(self) -> Mapping[str, Any]:
        """Which meta-classifier it is."""
        return {"meta_classifier": self.meta.digest(), "threshold": self.meta.threshold}

    def check(self, samples: Samples) -> None:
        """Compares the images' shape with the queries': both are shown to the model in the same way.

        Raises:
          SamplesError: they differ.
        """
        shown, trained = samples.images.shape[1:], self.meta.queries.shape[1:]
        if shown != trained:
            raise SamplesError(
                f"samples {samples.source or '(given as arrays)'}: images are {_by(shown)}, the meta-classifier of "
                f"MNTD was trained for {_by(trained)}"
            )

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The meta-classifier's score of one model.

        Raises:
          SamplesError: images of another shape than the queries.
          ValueError: a model of another number of classes.
          AccessError: the model gives labels only.
        """
        self.check(samples)
        if model.num_classes != self.meta.num_classes:
            raise ValueError(
                f"{model.model.architecture}: {model.num_classes} classes, the meta-classifier of MNTD was trained for "
                f"{self.meta.num_classes}"
            )
        started = time.perf_counter()
        # One batch a device is enough room: images are heavier than coordinates.
        options = dataclasses.replace(model.options, capacity=1)
        render = PreprocessedImages(model.preprocess)
        logits = label_logits(model.model, render, (), (self.meta.queries,), options)
        score = self.meta.score(logits) if np.isfinite(logits).all() else None
        return Detection(
            detector=NAME,
            statistics=(Statistic("meta_score", score, "high"),),
            target=None,
            queries=len(self.meta.queries),
            seconds={NAME: time.perf_counter() - started},
            details={
                "threshold": self.meta.threshold,
                "above_threshold": None if score is None else score > self.meta.threshold,
                "reason": "logits of the queries are NaN or infinite" if score is None else None,
            },
            evidence=logits,
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
