"""Benchmarks measure as much as their figures say: every point that is counted, and nothing that is compiled."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import factory
from tests.test_bench import SMALL
from xray_jax.bench import accelerator, compare, devices, forward, quick, subjects, sweeps, zoo
from xray_jax.detectors.planes.queries import label_points
from xray_jax.sweep.batch_scan import BatchScan


@pytest.mark.parametrize(("count", "nodes"), [(1, 10), (4, 10), (7, 10), (10, 10), (25, 10)])
def test_points_are_spread_over_all_nodes(count: int, nodes: int) -> None:
    chosen = subjects.spread(count, nodes)
    assert len(chosen) == count
    times = np.bincount(chosen, minlength=nodes)
    assert times.max() - times.min() <= 1
    assert len(times) == nodes


def test_nothing_is_compiled_while_the_zoo_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    class Counting(BatchScan):
        def run(self, entries: Any) -> Iterator[Any]:
            with sweeps._count_compilations() as events:
                yield from super().run(entries)
            compiled.append(len(events))

    everything = zoo.collect
    monkeypatch.setattr(zoo, "collect", lambda path: everything(path)[:2])
    monkeypatch.setattr(zoo, "BatchScan", Counting)
    monkeypatch.setattr(zoo, "MODES", ("grid", "refine"))
    # Sizes that no other test of this process has compiled for.
    assert len(list(zoo.run(dataclasses.replace(SMALL, planes=3, density=13)))) == 2
    assert compiled[0] > 0, "the scan that warms up"
    assert compiled[1:] == [0, 0]


class Asked:
    """Stands in for `label_points` and keeps which nodes each call asked for."""

    def __init__(self) -> None:
        self.nodes: list[set[tuple[float, ...]]] = []
        self.counts: list[int] = []

    def __call__(self, placed: Any, planes: Any, index: np.ndarray, coordinates: np.ndarray, inference: Any) -> Any:
        self.counts.append(len(index))
        self.nodes.append({(one, *where) for one, where in zip(index.tolist(), coordinates.tolist(), strict=True)})
        return label_points(placed, planes, index, coordinates, inference)


@pytest.mark.parametrize("case", [forward, devices, quick, accelerator], ids=lambda case: case.__name__.split(".")[-1])
def test_more_points_than_nodes_are_all_asked(monkeypatch: pytest.MonkeyPatch, case: Any) -> None:
    """On a grid of 4 x 5 x 5 nodes."""
    asked = Asked()
    monkeypatch.setattr(case, "label_points", asked)
    monkeypatch.setattr(case, "plane_grid", lambda shape, count, density: subjects.plane_grid(shape, 4, 5))
    monkeypatch.setattr(case, "classifier", lambda _, seed=0: factory.tiny_classifier(seed=seed), raising=False)
    monkeypatch.setattr(forward, "matmul_peak", lambda precision: 1e9)
    monkeypatch.setattr(compare, "session_of", lambda model: None)
    options = dataclasses.replace(SMALL, points=160)
    if case is forward:
        list(forward.run(options))
    elif case is devices:
        devices.measure_here(1, 160, 1, "float32")
    elif case is quick:
        quick.points(factory.tiny_classifier(), options)["points"]()
    else:
        list(accelerator._precisions("tiny", options))
    assert set(asked.counts) == {160}
    assert all(len(nodes) == 100 for nodes in asked.nodes)
