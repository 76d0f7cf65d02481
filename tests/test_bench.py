import dataclasses
import time

import numpy as np
import pytest

from tests import factory
from xray_jax import bench
from xray_jax.bench import fidelity, forward, harness, scans, subjects
from xray_jax.bench.harness import Figure, Timing
from xray_jax.bench.options import Options
from xray_jax.detectors.planes.scan import PlanesOptions, Scanner

SMALL = Options(architectures=("preactresnet-small",), batches=(2,), repeats=1, planes=2, density=10, points=8)


def test_measured_functions_take_turns() -> None:
    calls: list[str] = []
    timings = harness.measure({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=3, warm_up=2)
    assert "".join(calls) == "aabb" + "ababab"
    assert [len(timings[name].wall) for name in "ab"] == [3, 3]


def test_timing_is_median_and_quartiles() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 100.0), (0.0,) * 5)
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((4 - 2) / 2 / 3)
    timing = harness.measure({"": lambda: time.sleep(0.02)}, repeats=3, warm_up=0)[""]
    assert 0.015 < timing.median < 2
    assert max(timing.cpu) < timing.median


def test_ratio_pairs_turns() -> None:
    slow_spell = Timing((1.0, 10.0, 1.0), (1.0, 1.0, 1.0))
    twice = Timing((2.0, 20.0, 2.0), (3.0, 3.0, 3.0))
    figure = harness.ratio("case", "name", twice, slow_spell)
    assert (figure.value, figure.spread, figure.note) == (2.0, 0.0, "CPU time 3 x")


def test_table_and_manifest() -> None:
    lines = bench.table([Figure("c", "n", 1234.5678, "q/s", 0.051, "why"), Figure("c", "m", 2, "")]).splitlines()
    assert lines[2] == "| c | n | 1235 q/s | ± 5 % | why |"
    manifest = bench.manifest()
    assert manifest["versions"]["jax"]
    assert manifest["device"].startswith("8 x")


def test_options_check_themselves() -> None:
    with pytest.raises(ValueError, match="--repeats must be at least 1, got 0"):
        Options(repeats=0)


def products(size: int, stride: int, before: int, after: int, taps: int) -> int:
    """Multiplications of a padded square convolution, by counting the taps that fall on the image."""
    outputs = range(0, size, stride)
    along = sum(0 <= start + tap - taps // 2 < size for start in outputs for tap in range(taps))
    return along**2 * before * after


def test_flops_are_those_of_the_layers() -> None:
    total, size, before = products(32, 1, 3, 64, 3), 32, 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        total += products(size, stride, before, width, 3) + (stride > 1) * products(size, stride, before, width, 1)
        size, before = size // stride, width
        total += 3 * products(size, 1, width, width, 3)
    total += 512 * 10
    # Norms, activations and the pooling are what is over.
    assert 1 <= forward.flops_per_image("preactresnet18") / (2 * total) < 1.03


def test_refinement_follows_the_recorded_maps(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "classifier", lambda _: factory.tiny_classifier())
    monkeypatch.setattr(scans, "classifier", lambda _: factory.tiny_classifier())
    settings = PlanesOptions(planes=3, density=24)
    maps = Scanner(factory.tiny_samples(), settings).scan(factory.tiny_classifier(seed=1)).maps
    flat = dataclasses.replace(maps, labels=np.zeros_like(maps.labels))
    counts = {}
    for name, each in (("busy", maps), ("flat", flat)):
        each.save(tmp_path / f"{name}.npz")
        options = dataclasses.replace(SMALL, planes=4, density=24, maps=str(tmp_path / f"{name}.npz"))
        assert scans.recorded(options).labels.shape == (4, 24, 24)
        counts[name] = scans.asker("tiny", options, "refine")()
    assert counts["flat"] < counts["busy"] < 4 * 24**2
    figures = list(fidelity.run(dataclasses.replace(SMALL, maps=str(tmp_path / "*.npz"))))
    found = {figure.name: figure.value for figure in figures}
    assert len(figures) == 2 * 2 * 4
    assert found["flat, refine: equal nodes"] == 100
    assert found["flat, sketch: largest error of mean RE"] == 0
    assert 0 < found["busy, sketch: queries"] <= 100
    with pytest.raises(ValueError, match="density 24, asked for 10"):
        scans.recorded(dataclasses.replace(SMALL, maps=str(tmp_path / "busy.npz")))


def test_torch_baseline_is_the_same_network() -> None:
    torch_loop = pytest.importorskip("xray_jax.bench.torch_loop", reason="torch is a test extra")
    model = factory.tiny_classifier()
    network = model.network
    module = torch_loop.TorchPreActResNet(5, network.stage_sizes, network.widths, network.strides)
    torch_loop.load_linen(module, model.variables)
    planes, index, coordinates, _ = subjects.plane_grid(model.input_shape, 2, 6)
    found = torch_loop.label_points(module, planes, index, coordinates, batch_size=16)
    from xray_jax.inference import labels

    engine = labels.InferenceOptions()
    expected = labels.label_points(labels.to_device(model, engine), planes, index, coordinates, engine)
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(found, expected)
