"""Benchmarks: cases that measure, a harness that repeats and compares, figures that say how they were made."""

from xray_jax.bench import against as against
from xray_jax.bench.cases import CASES as CASES
from xray_jax.bench.cases import USED as USED
from xray_jax.bench.cases import Options as Options
from xray_jax.bench.harness import Figure as Figure
from xray_jax.bench.harness import manifest as manifest
from xray_jax.bench.harness import table as table
