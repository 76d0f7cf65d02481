"""Benchmarks: measuring, and every case on settings so small that its figures mean nothing."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import factory
from xray_jax import bench
from xray_jax.bench import accelerator, devices, forward, harness, probing, quick, scans, subjects, zoo
from xray_jax.bench.harness import Figure, Timing
from xray_jax.bench.options import Options
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe import ProbeOptions
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare

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
    manifest = bench.manifest(SMALL)
    assert manifest["versions"]["jax"]
    assert manifest["device"].startswith("8 x")


@pytest.mark.filterwarnings("ignore")  # torch's exporter announces its end
def test_the_quick_case_counts_queries_and_measures_in_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "PROBE", ProbeOptions(queries=1000))
    monkeypatch.setattr(quick, "SIZE", 64)
    monkeypatch.setattr(quick, "WHITE_BOX", ("margin",))
    figures = run("quick", SMALL)
    counts = {name: figure.value for name, figure in figures.items() if figure.unit == "queries"}
    assert set(counts) == {f"{kind}, {name}" for kind in ("clean", "backdoored") for name in ("planes", "probe")}
    assert all(0 < count < 3000 for count in counts.values())
    ratios = {name for name, figure in figures.items() if figure.unit == "x time"}
    assert ratios == {
        *(f"{name} / matrix products" for name in ("planes", "probe", "margin", "points", "onnxruntime")),
        "margin / the probe",
        "points / onnxruntime's",
    }


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


def test_refinement_follows_the_recorded_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "classifier", lambda _: factory.tiny_classifier())
    monkeypatch.setattr(scans, "classifier", lambda _: factory.tiny_classifier())
    samples = factory.tiny_samples()
    planes = Planes(PlanesOptions(planes=3, density=24))
    maps = planes.scan(prepare(factory.tiny_classifier(seed=1), samples), samples).maps
    flat = dataclasses.replace(maps, labels=np.zeros_like(maps.labels))
    counts = {}
    for name, each in (("busy", maps), ("flat", flat)):
        each.save(tmp_path / f"{name}.npz")
        options = dataclasses.replace(SMALL, planes=4, density=24, maps=str(tmp_path / f"{name}.npz"))
        assert scans.recorded(options).labels.shape == (4, 24, 24)
        counts[name] = scans.asker("tiny", options, "refine")()
    assert counts["flat"] < counts["busy"] < 4 * 24**2
    figures = run("fidelity", dataclasses.replace(SMALL, maps=str(tmp_path / "*.npz")))
    found = {name: figure.value for name, figure in figures.items()}
    assert len(found) == 2 * 2 * 4
    assert found["flat, refine: equal nodes"] == 100
    assert found["flat, sketch: largest error of mean RE"] == 0
    assert 0 < found["busy, sketch: queries"] <= 100
    with pytest.raises(ValueError, match="density 24, asked for 10"):
        scans.recorded(dataclasses.replace(SMALL, maps=str(tmp_path / "busy.npz")))


def test_torch_baseline_is_the_same_network() -> None:
    torch_loop = pytest.importorskip("xray_jax.bench.torch_loop", reason="torch is a test extra")
    from xray_jax.bench import torch_nets

    model = factory.tiny_classifier()
    module = torch_nets.module_of(model)
    planes, index, coordinates, _ = subjects.plane_grid(model.input_shape, 2, 6)
    found = torch_loop.label_points(module, planes, index, coordinates, batch_size=16)
    options = InferenceOptions()
    expected = label_points(to_device(model, options), planes, index, coordinates, options)
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize("architecture", ["lenet5", "cnn6-elu-bn", "resnet20-cifar-a"])
def test_networks_in_torch_give_the_same_logits(architecture: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is a test extra")
    from xray_jax.bench import torch_nets

    model = subjects.classifier(architecture)
    images = np.random.default_rng(0).random((2, *model.input_shape), np.float32)
    with torch.inference_mode():
        found = torch_nets.module_of(model)(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    expected = model.network.apply(model.variables, images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(expected).max()))


def run(case: str, options: Options) -> dict[str, Figure]:
    """A case's figures by name, each a number that a table can show; it has read the options that it is said to."""
    watched = Watched(**vars(options))
    vars(watched)["read"] = set()
    figures = list(bench.CASES[case](watched))
    assert vars(watched)["read"] == bench.USED[case]
    assert {figure.case for figure in figures} == {case}
    assert all(math.isfinite(figure.value) for figure in figures)
    assert len(bench.table(figures).splitlines()) == len(figures) + 2
    found = {figure.name: figure for figure in figures}
    assert len(found) == len(figures)
    return found


class Watched(Options):
    """Options that keep which of them were read."""

    def __getattribute__(self, name: str) -> Any:
        if name in Options.__dataclass_fields__:
            vars(self).setdefault("read", set()).add(name)
        return super().__getattribute__(name)


def test_every_case_is_tested_here() -> None:
    assert set(bench.CASES) == {
        "forward", "scan", "compare", "fidelity", "sweep", "reading", "devices", "zoo", "probe", "quick",
        "accelerator",
    }  # fmt: skip


def test_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "matmul_peak", lambda precision: 1e9)
    found = run("forward", SMALL)
    assert list(found) == ["matrix-product peak", "preactresnet-small, batch 2"]
    assert found["preactresnet-small, batch 2"].value > 0


def test_the_matrix_product_peak_is_measured() -> None:
    assert forward.matmul_peak("float32", size=16, repeats=1) > 0


def test_scan() -> None:
    found = run("scan", SMALL)
    assert len(found) == 3 + 2
    assert "N=2, S=10, 200 queries (100.0 %), random weights" in found["preactresnet-small, grid"].note


@pytest.mark.filterwarnings("ignore")  # torch's exporter announces its end
def test_compare() -> None:
    pytest.importorskip("torch", reason="torch is a test extra")
    found = run("compare", SMALL)
    assert found["preactresnet-small, refine / torch's whole grid"].note == "torch timed on 8 nodes"
    same = {name: each.note for name, each in found.items() if "labels equal" in each.note}
    assert {"preactresnet-small, torch", "preactresnet-small, jax"} <= set(same)
    assert set(same.values()) == {"labels equal to torch's: 100.00 %"}
    with pytest.raises(ValueError, match="smallcnn32-64 has no torch counterpart here"):
        run("compare", dataclasses.replace(SMALL, architectures=("smallcnn32-64",)))


def test_reading() -> None:
    pytest.importorskip("torch", reason="torch is a test extra")
    assert list(run("reading", SMALL)) == [
        f"preactresnet-small, {name}" for name in ("torch", "xray_jax", "xray_jax / torch")
    ]
    with pytest.raises(ValueError, match="smallcnn32-64 has no torch counterpart here"):
        run("reading", dataclasses.replace(SMALL, architectures=("smallcnn32-64",)))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the test's own simulated devices, which are as many as a child process would have."""
    monkeypatch.setattr(devices, "COUNTS", (1, 2))
    monkeypatch.setattr(devices, "classifier", lambda _: factory.tiny_classifier())
    monkeypatch.setattr(devices, "_simulated", lambda arguments: devices.measure_here(*arguments))
    found = run("devices", SMALL)
    assert [name.split(", ")[1:] for name in found] == [
        [count, how] for count in ("1 devices", "2 devices") for how in ("one model over all", "a model on each")
    ]
    different = iter("ab")
    answer = {"split": [[1.0], [1.0]], "spread": [[1.0], [1.0]]}
    monkeypatch.setattr(devices, "_simulated", lambda arguments: {**answer, "labels": [next(different)]})
    with pytest.raises(RuntimeError, match="labels on 2 devices are not those on fewer"):
        run("devices", SMALL)


def test_a_failed_child_process_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="1 simulated devices: "):
        devices._simulated((1, "not a number", 1, "float32"))


def test_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "matmul_peak", lambda precision: 1e9)
    monkeypatch.setattr(accelerator, "PROBE", ProbeOptions(queries=1000))
    for case in (accelerator, forward, scans):
        monkeypatch.setattr(case, "classifier", lambda _, seed=0: factory.tiny_classifier(seed=seed))
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it
        found = run("accelerator", dataclasses.replace(SMALL, together=2))
    assert [name for name in found if name != "matrix-product peak"] == [
        "preactresnet-small, batch 2",
        *(f"preactresnet-small, {kind}" for kind in ("grid", "refine", "probe")),
        *(f"preactresnet-small, {precision} / float32" for precision in ("tf32", "bfloat16")),
        *(f"2 x preactresnet-small, {how}" for how in ("one after the other", "at once")),
        "2 x preactresnet-small, at once / one after the other",
        "training preactresnet-small, 1 alone",
        "training preactresnet-small, 2 together",
    ]
    assert found["preactresnet-small, tf32 / float32"].note.startswith("labels equal to float32's: 100.00 % of 8")
    assert found["preactresnet-small, grid"].note.startswith("200 queries")
    assert int(found["preactresnet-small, probe"].note.split()[0].replace(",", "")) > 500


def test_sweep() -> None:
    found = run("sweep", dataclasses.replace(SMALL, checkpoints=3, planes=1, sampling="sketch"))
    assert "3 x demo net, planes, sketch, N=1, S=10" in found
    assert found["programs compiled during the sweep"].value == 0
    assert 0 <= found["time without a query on the device"].value <= 100


def test_zoo(monkeypatch: pytest.MonkeyPatch, exhaustive: bool) -> None:
    """Scans by the planes only: the probe has its own case, and warms up here."""
    monkeypatch.setattr(zoo, "MODES", zoo.MODES[:3] if exhaustive else ("grid", "sketch"))
    found = run("zoo", SMALL)
    count = len((Path(zoo.__file__).parent.parent / "demo" / "manifest.jsonl").read_text().splitlines())
    assert list(found) == [f"{count} demo nets, {mode}" for mode in zoo.MODES]
    assert f"{count} as the grid's" in found[f"{count} demo nets, grid"].note


def test_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "TIMES", 2)
    monkeypatch.setattr(probing, "ProbeOptions", _few_queries())
    factory.save_tiny(tmp_path / "bad.safetensors")
    factory.save_tiny(tmp_path / "good.safetensors", seed=1)
    rows: list[dict[str, Any]] = [
        {"id": "bad", "path": "bad.safetensors", "label": "backdoored", "target": 1},
        {"id": "good", "path": "good.safetensors", "label": "clean"},
    ]
    manifest, clean = tmp_path / "manifest.jsonl", factory.save_samples(tmp_path / "samples.npz")
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = dataclasses.replace(SMALL, zoo=str(manifest), samples=str(clean))
    found = run("probe", options)
    assert list(found) == ["bad", "mean share found"]
    assert "queries (" in found["bad"].note
    manifest.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(ValueError, match="no backdoored model with a known target"):
        run("probe", options)
    with pytest.raises(ValueError, match="needs --zoo"):
        run("probe", SMALL)


def _few_queries() -> type[ProbeOptions]:
    @dataclasses.dataclass(frozen=True)
    class Few(ProbeOptions):
        queries: int = 1000

    return Few


def test_fidelity_needs_maps() -> None:
    with pytest.raises(ValueError, match="needs --maps"):
        run("fidelity", SMALL)
