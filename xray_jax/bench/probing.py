"""Flip rates that the probe confirms with its default budget, as shares of those with twenty times the budget."""

import dataclasses
from collections.abc import Iterator

from xray_jax import checkpoints, samples
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.detectors.probe import ProbeOptions, ProbeResult, probe
from xray_jax.prepare import prepare
from xray_jax.rows.row import is_backdoored
from xray_jax.sweep import checkpoint_list

TIMES = 20
"""At so many times the budget every family's grid is asked whole, and refinement takes twenty times the moves."""


def run(options: Options) -> Iterator[Figure]:
    """For every backdoored model of a manifest the confirmed flip rate to its target, at one and at `TIMES` budgets.

    Raises:
      ValueError: no manifest with backdoored models of a known target, or no samples.
    """
    if options.zoo is None or options.samples is None:
        raise ValueError("--case=probe needs --zoo, a manifest with labels and targets, and --samples")
    clean = samples.read(options.samples)
    known = [e for e in checkpoint_list.collect(options.zoo) if is_backdoored(e.label) and e.target is not None]
    if not known:
        raise ValueError(f"--zoo={options.zoo}: no backdoored model with a known target")
    shares = []
    for entry in known:
        model = prepare(checkpoints.load(entry.path, preprocess=entry.preprocess), clean)
        usual = probe(model, clean, ProbeOptions())
        more = probe(model, clean, dataclasses.replace(ProbeOptions(), queries=TIMES * ProbeOptions.queries))
        rate, best = _best(usual, entry.target), _best(more, entry.target)
        shares.append(rate / best if best else 1.0)
        note = f"{rate:.3f} with {usual.queries:,} queries ({usual.verdict}), {best:.3f} with {more.queries:,}"
        yield Figure("probe", entry.id, 100 * shares[-1], "%", note=note)
    yield Figure("probe", "mean share found", 100 * sum(shares) / len(shares), "%", note=f"{len(shares)} models")


def _best(result: ProbeResult, target: int | None) -> float:
    """Highest flip rate to `target` that was confirmed on all of the confirming images."""
    rates = [
        f.rate
        for f in result.findings
        if f.kind == "all-to-one" and f.target == target and 2 * f.trials > result.confirm_images
    ]
    return max(rates, default=0.0)
