"""`jax.export` artefacts against the function that was exported."""

import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import jax_export
from xray_jax.classifier import Classifier
from xray_jax.inference.labels import label_images

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)
HEAD = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
IMAGES = np.random.default_rng(2).uniform(size=(7, 8, 6, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """The same checks without starting Python for each file, except where the other process is what is tested."""
    if "rehearsal" not in request.node.name:
        monkeypatch.setattr(
            jax_export, "_rehearse", lambda data: jax_export._check_program(export.deserialize(bytearray(data)))
        )


def network(images):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(images, jnp.asarray(KERNEL), (1, 1), "SAME", dimension_numbers=dimensions)
    return jnp.mean(jax.nn.gelu(x, approximate=False), (1, 2)) @ HEAD


def write(path, function=network, shape=(8, 6, 3), batch="b", dtype="float32", platforms=("cpu", "cuda", "tpu"), **kw):
    size = export.symbolic_shape(batch)[0] if isinstance(batch, str) else batch
    made = export.export(jax.jit(function), platforms=platforms, **kw)(jax.ShapeDtypeStruct((size, *shape), dtype))
    path.write_bytes(made.serialize())
    return path


@pytest.mark.parametrize("batch", ["b", 4])
def test_open_and_fixed_batches_give_the_labels_of_the_function(tmp_path, batch):
    model = load(write(tmp_path / "a.bin", batch=batch))
    assert isinstance(model, Classifier)
    assert (model.num_classes, model.input_shape) == (5, (8, 6, 3))
    assert model.batch_size == (None if batch == "b" else 4)
    logits = model.network.apply(model.variables, jnp.asarray(IMAGES[:4]))
    np.testing.assert_allclose(logits, network(IMAGES[:4]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(label_images(model, IMAGES), np.argmax(network(IMAGES), -1))


def test_channels_first_keywords_and_half_precision(tmp_path):
    def function(images):
        return {"scores": network(images.transpose(0, 2, 3, 1).astype(jnp.float32))}

    model = load(write(tmp_path / "a.jaxexport", function, (3, 8, 6), dtype="float16"))
    assert model.input_shape == (8, 6, 3)
    expected = network(IMAGES.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(model.network.apply({}, jnp.asarray(IMAGES)), expected, rtol=1e-5, atol=1e-6)


def test_equal_files_are_one_network_and_others_are_not(tmp_path):
    first = load(write(tmp_path / "a.jaxexport"))
    second = load(shutil.copy(tmp_path / "a.jaxexport", tmp_path / "b.jaxexport"))
    assert first.network == second.network
    assert hash(first.network) == hash(second.network)
    assert load(write(tmp_path / "c.jaxexport", batch=2)).network != first.network


def test_save_writes_what_read_opens(tmp_path):
    model = load(write(tmp_path / "a.jaxexport"))
    jax_export.save(tmp_path / "b.jaxexport", model)
    again = load(tmp_path / "b.jaxexport")
    np.testing.assert_array_equal(label_images(again, IMAGES), label_images(model, IMAGES))
    jax_export.save(tmp_path / "c.jaxexport", model, batch_size=3)
    assert load(tmp_path / "c.jaxexport").batch_size == 3


def patched(path, monkeypatch, **changes):
    """Reads an artefact whose container says something else."""
    made = export.deserialize(bytearray(path.read_bytes()))
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    monkeypatch.setattr(export, "deserialize", lambda data: made)
    return lambda: load(path)


def test_a_program_for_another_platform_says_how_to_export_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"exported for tpu.*this machine runs cpu.*platforms="):
        load(write(tmp_path / "a.jaxexport", platforms=("tpu",)))


def test_effects_and_several_devices_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jaxexport")
    with pytest.raises(CheckpointError, match="effects"):
        patched(path, monkeypatch, ordered_effects=("print",))()
    with pytest.raises(CheckpointError, match="2 devices"):
        patched(path, monkeypatch, nr_devices=2, ordered_effects=())()


def test_a_call_out_of_stablehlo_is_refused_before_it_is_compiled(tmp_path):
    def calls_out(images):
        call = jax.ffi.ffi_call("xla_ffi_python_cpu_callback", jax.ShapeDtypeStruct((2, 5), jnp.float32))
        return network(images) + call(images, descriptor=np.int64(0))

    check = [export.DisabledSafetyCheck.custom_call("xla_ffi_python_cpu_callback")]
    path = write(tmp_path / "a.jaxexport", calls_out, batch=2, platforms=("cpu",), disabled_checks=check)
    with pytest.raises(CheckpointError, match=r"xla_ffi_python_cpu_callback.*refused"):
        load(path)


def test_a_linear_algebra_kernel_is_refused_too(tmp_path):
    def solve(images):
        return network(images) @ jnp.linalg.qr(jnp.eye(5) + images[0, 0, 0, 0])[0]

    with pytest.raises(CheckpointError, match=r"lapack.*refused"):
        load(write(tmp_path / "a.jaxexport", solve, batch=2, platforms=("cpu",)))


def test_a_tensor_bomb_is_refused_before_it_is_compiled(tmp_path):
    def bomb(images):
        return network(images) + jnp.sum(jnp.ones((1 << 15, 1 << 15)) * images[0, 0, 0, 0])

    with pytest.raises(CheckpointError, match="too large"):
        load(write(tmp_path / "a.jaxexport", bomb, batch=2))


def per_image(many):
    """A network with a tensor of `many` numbers for each image, whatever the batch."""

    def function(images):
        made = jnp.broadcast_to(images[:, :1, 0, 0], (images.shape[0], many))
        return network(images) + jnp.cumsum(made, 1)[:, -1:]

    return function


def test_sizes_that_depend_on_the_batch_are_bounded_too(tmp_path):
    with pytest.raises(CheckpointError, match="too large"):
        load(write(tmp_path / "a.jaxexport", per_image(1 << 26)))
    assert load(write(tmp_path / "b.jaxexport", per_image(1 << 10))).num_classes == 5

    def squared(images):
        pairs = jnp.broadcast_to(images[None, :, :1, 0, 0], (images.shape[0], images.shape[0], 1 << 20))
        return network(images) + jnp.cumsum(pairs, 2).sum((1, 2))[:, None]

    with pytest.raises(CheckpointError, match="too large"):
        load(write(tmp_path / "c.jaxexport", squared))


@pytest.mark.parametrize("batch", ["8*b", "8*b - 2"])
def test_batches_that_are_not_of_every_size_are_checked_or_refused(tmp_path, batch):
    path = write(tmp_path / "a.jaxexport", per_image(8), batch=batch)
    if batch == "8*b":
        assert load(path).num_classes == 5
    else:
        with pytest.raises(CheckpointError, match="takes no batch of 1024 or 128"):
            load(path)


@pytest.mark.parametrize("scale", [1, 1000])
def test_probabilities_become_their_logarithms(tmp_path, scale):
    model = load(write(tmp_path / "a.jaxexport", lambda images: jax.nn.softmax(scale * network(images))))
    wanted = jax.nn.log_softmax(scale * network(IMAGES))
    found = model.network.apply({}, jnp.asarray(IMAGES))
    np.testing.assert_allclose(found, np.maximum(wanted, np.log(np.finfo(np.float32).tiny)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(label_images(model, IMAGES), np.argmax(network(IMAGES), -1))


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: (network(x), network(x)), (8, 6, 3), "returns 2"),
        (lambda x: network(x)[:, :1], (8, 6, 3), "at least two classes"),
        (lambda x: x, (8, 6, 3), "expected .batch, classes."),
        (lambda x: jnp.argmax(network(x), -1), (8, 6, 3), "floating-point"),
        (lambda x: x[:, :5], (7,), "no square image"),
    ],
)
def test_other_signatures_are_refused_with_the_way_out(tmp_path, function, shape, message):
    with pytest.raises(CheckpointError, match=message):
        load(write(tmp_path / "a.jaxexport", function, shape))


def test_a_bare_module_says_what_to_save(tmp_path):
    made = export.deserialize(bytearray(write(tmp_path / "a.jaxexport").read_bytes()))
    (tmp_path / "b.stablehlo").write_bytes(made.mlir_module_serialized)
    with pytest.raises(CheckpointError, match=r"bare StableHLO module.*jax\.export"):
        load(tmp_path / "b.stablehlo")


def test_the_rehearsal_lets_good_files_through_and_says_why_others_are_refused(tmp_path):
    path = write(tmp_path / "a.jaxexport", batch=2)
    assert load(path).num_classes == 5
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r"damaged jax\.export"):
        load(path)


def test_a_parser_that_crashes_in_the_rehearsal_is_an_error(tmp_path, monkeypatch):
    crash = tmp_path / "crash"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    path = write(tmp_path / "a.jaxexport", batch=2)
    monkeypatch.setattr(jax_export.sys, "executable", str(crash))
    with pytest.raises(CheckpointError, match=r"parser crashed on it \(exit -11\)"):
        load(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_parser_that_does_not_end_in_the_rehearsal_is_an_error(tmp_path, monkeypatch):
    endless = tmp_path / "endless"
    endless.write_text(f"""#!{sys.executable}
import collections, itertools
from xray_jax.checkpoints.programs import jax_export
jax_export.PARSING_SECONDS = 1
# In C, as MLIR's parser is: Python never comes to look at a signal.
jax_export.export.deserialize = lambda data: collections.deque(itertools.repeat(data), maxlen=0)
jax_export.check_stdin()
""")
    endless.chmod(0o755)
    path = write(tmp_path / "a.jaxexport", batch=2)
    monkeypatch.setattr(jax_export.sys, "executable", str(endless))
    monkeypatch.setattr(jax_export, "PARSING_SECONDS", 1)
    with pytest.raises(CheckpointError, match="more than 1 s of the processor: damaged or hostile; refused"):
        load(path)
