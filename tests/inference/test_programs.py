"""The parts of the device programs, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.inference.programs import hard_labels, in_batches, label_dtype


@pytest.mark.parametrize(("classes", "dtype"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65537, "int32")])
def test_label_type_holds_every_class(classes: int, dtype: str) -> None:
    assert label_dtype(classes) == dtype
    logits = jnp.zeros((1, classes)).at[0, classes - 1].set(1.0)
    assert int(hard_labels(logits, np.dtype(dtype))[0]) == classes - 1


def test_nan_logits_never_win() -> None:
    logits = jnp.array([[0.0, jnp.nan, 1.0], [jnp.nan] * 3, [-jnp.inf, jnp.nan, -1.0]])
    assert hard_labels(logits, np.dtype(np.uint8)).tolist() == [2, 0, 2]


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_only_the_first_batches_are_walked(batches: int) -> None:
    rows = np.arange(12.0, dtype=np.float32), np.arange(24.0, dtype=np.float32).reshape(12, 2)

    @jax.jit
    def program(count: jax.Array, *rows: jax.Array) -> jax.Array:
        one = jax.ShapeDtypeStruct((2,), jnp.float32)
        return in_batches(count, 4, rows, lambda first, second: first[:, None] * second, one)

    expected = rows[0][:, None] * rows[1]
    expected[4 * batches :] = 0
    np.testing.assert_array_equal(program(np.int32(batches), *rows), expected)


def test_one_trace_for_any_number_of_batches() -> None:
    traces: list[tuple[int, ...]] = []

    def output(row: jax.Array) -> jax.Array:
        traces.append(row.shape)
        return row

    program = jax.jit(lambda count, row: in_batches(count, 4, (row,), output, jax.ShapeDtypeStruct((), jnp.float32)))
    for count in range(4):
        program(np.int32(count), np.zeros(12, np.float32))
    assert traces == [(4,)]
