"""`jax.export` artefacts: a whole program as StableHLO with its weights inside, so any architecture opens.

Such a file *is* a program, and scanning it means that XLA compiles and runs it: tensor arithmetic without Python,
files or network, but without a sandbox either. Nothing of it reaches Python: modules that call host functions or
custom kernels, talk to a host or to other devices, or have effects are refused before they are compiled. They are
parsed in a process of their own first, because MLIR's parser can crash on damaged bytes. A program may still be slow,
or never end. The format has no checksum: a damaged weight can go unnoticed.
"""

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput, image_input
from xray_jax.classifier import Access, Classifier, Variables
from xray_jax.files import atomic_write

NAME = "jax.export"
SUFFIXES = (".jaxexport", ".stablehlo", ".jax")
MAX_ELEMENTS = 1 << 28
"""Of one tensor of fixed size: a few bytes of program can ask for any amount."""
MAX_PER_IMAGE = 1 << 24
"""Of one tensor whose size depends on the batch, for each image."""
BATCHES = (1024, 128, 16, 1)
"""Sizes of batch that a program of open batch size is checked for: the first that it takes."""

SUM_TOLERANCE = 1e-2
"""How far the sum of probabilities may be from 1: half precision rounds."""

REHEARSAL_SECONDS = 120
"""Of the clock, for the process that looks at a program first; most of it is the start of Python and JAX."""
PARSING_SECONDS = 10
"""Of the processor, in that process, and one more for each MiB: a network of 1,000 layers needs a third of a second."""
_REFUSAL = 3

_BYTECODE = b"ML\xefR"
_CALLS = frozenset(
    {"shape_assertion", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "mhlo.erf", "mhlo.topk"}
)
_DIALECTS = ("builtin", "func", "stablehlo", "chlo")
_REFUSED = frozenset(
    {
        "stablehlo.infeed",
        "stablehlo.outfeed",
        "stablehlo.send",
        "stablehlo.recv",
        "stablehlo.all_gather",
        "stablehlo.all_reduce",
        "stablehlo.all_to_all",
        "stablehlo.collective_broadcast",
        "stablehlo.collective_permute",
        "stablehlo.reduce_scatter",
    }
)
"""Operations that wait for a host or for other devices."""

_PLATFORMS: Mapping[str, frozenset[str]] = {"gpu": frozenset({"cuda", "rocm"})}


@dataclass(frozen=True)
class ExportedNetwork:
    """An exported program. Equal when the files are equal. It has no derivative: artefacts rarely carry one.

    Attributes:
      digest: SHA-256 of the file's content, in hexadecimal.
      entry: how images enter it.
      exported: the program.
    """

    digest: str
    entry: ImageInput
    exported: export.Exported = field(compare=False, repr=False)

    def apply(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Images `[B, H, W, C]` -> logits `[B, num_classes]`. `variables` is empty: the weights are in the program."""
        leaf = self.entry.enter(images).astype(self.exported.in_avals[0].dtype)
        args, kwargs = jax.tree.unflatten(self.exported.in_tree, [leaf])
        return logits(jax.tree.leaves(self.exported.call(*args, **kwargs))[0])


def logits(scores: jax.Array) -> jax.Array:
    """`[B, classes]` with the logarithm of each row that is probabilities: the logits but for a constant.

    A program that ends in a softmax cannot be cut before it, and detectors that compare logits see nothing of scores
    that all are 0 or 1. A row of logits that happens to look like probabilities keeps its order, and so its label.
    """
    least = np.finfo(np.float32).tiny
    sums = jnp.abs(jnp.sum(scores.astype(jnp.float32), axis=1, keepdims=True) - 1) < SUM_TOLERANCE
    probabilities = jnp.all((scores >= 0) & (scores <= 1 + SUM_TOLERANCE), axis=1, keepdims=True) & sums
    logs = jnp.log(jnp.maximum(scores.astype(jnp.float32), least)).astype(scores.dtype)
    return jnp.where(probabilities, logs, scores)


def matches(path: Path, head: bytes) -> bool:
    """By MLIR's signature near the start, or by suffix: the outer container has no signature of its own."""
    return (_BYTECODE in head and b"StableHLO" in head) or (head != b"" and path.suffix.lower() in SUFFIXES)


def read(path: Path) -> Classifier:
    """A program that takes one batch of images and gives one row of class scores an image.

    Raises:
      CheckpointError: saying what the program asks for that it does not get, or what does not fit.
    """
    source = Source.of(path)
    data = source.read(0, source.size).tobytes()
    if data.startswith(_BYTECODE):
        raise CheckpointError("a bare StableHLO module; serialise what jax.export.export(...) returns instead")
    digest = hashlib.sha256(data).hexdigest()
    _rehearse(data)
    exported = export.deserialize(bytearray(data))
    _check_platform(exported)
    if len(exported.in_avals) != 1 or len(exported.out_avals) != 1:
        raise CheckpointError(
            f"it takes {len(exported.in_avals)} arrays and returns {len(exported.out_avals)}, expected one batch of "
            "images and one of scores; export a function of the images alone, with its weights closed over"
        )
    (images,), (scores,) = exported.in_avals, exported.out_avals
    if not jnp.issubdtype(images.dtype, jnp.floating) or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise CheckpointError(f"it maps {images.dtype} to {scores.dtype}, expected floating-point images and scores")
    if len(scores.shape) != 2 or type(scores.shape[1]) is not int or scores.shape[1] < 2:
        raise CheckpointError(f"it returns {scores.shape}, expected [batch, classes] with at least two classes")
    if not images.shape or images.shape[0] != scores.shape[0]:
        raise CheckpointError(f"it maps {images.shape} to {scores.shape}: the first dimensions must be one batch")
    entry = image_input(images.shape[1:], channels_first=False)
    batch = images.shape[0] if type(images.shape[0]) is int else None
    network = ExportedNetwork(digest, entry, exported)
    classes, name = scores.shape[1], "jax.export program"
    return Classifier(network, {}, classes, entry.shape, name, batch_size=batch, access=Access.LOGITS)


def _check_platform(exported: export.Exported) -> None:
    here = jax.default_backend()
    if not _PLATFORMS.get(here, frozenset({here})) & set(exported.platforms):
        raise CheckpointError(
            f"exported for {', '.join(exported.platforms)}, this machine runs {here}; export it again with "
            "platforms=['cpu', 'cuda', 'tpu']"
        )
    if exported.nr_devices != 1:
        raise CheckpointError(f"exported for {exported.nr_devices} devices, expected one")
    if exported.ordered_effects or exported.unordered_effects:
        raise CheckpointError("the program has effects beyond its result (callbacks, printing): refused")


def _rehearse(data: bytes) -> None:
    """Parses and checks the program in another process first: one of 2,000 damaged files made MLIR's parser crash."""
    command = [sys.executable, "-c", "from xray_jax.checkpoints.programs import jax_export; jax_export.check_stdin()"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(command, input=data, capture_output=True, env=environment, timeout=REHEARSAL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"parsing it took more than {REHEARSAL_SECONDS} s: damaged or hostile; refused"
        ) from error
    if done.returncode == _REFUSAL:
        raise CheckpointError(done.stdout.decode(errors="replace").strip())
    if done.returncode:
        raise CheckpointError(ended(done.returncode, len(data)))


def ended(status: int, size: int) -> str:
    """What it says of a program of `size` bytes that the process which looked at it ended with `status`."""
    if status == -getattr(signal, "SIGXCPU", 0):
        return f"parsing it took more than {_parsing_seconds(size)} s of the processor: damaged or hostile; refused"
    return f"MLIR's parser crashed on it (exit {status}): damaged or hostile; copy it again"


def check_stdin() -> None:
    """The other process of `_rehearse`: an artefact on stdin; exits 0, or says on stdout why it is refused."""
    data = sys.stdin.buffer.read()
    _bound_processor_time(_parsing_seconds(len(data)))
    try:
        _check_program(export.deserialize(bytearray(data)))
    except CheckpointError as error:
        print(error)
    except Exception as error:
        print(f"damaged {NAME} ({type(error).__name__}: {' '.join(str(error).split())[:200]}); copy or save it again")
    else:
        return
    sys.exit(_REFUSAL)


def _parsing_seconds(size: int) -> int:
    return PARSING_SECONDS + (size >> 20)


def _bound_processor_time(seconds: int) -> None:
    """Lets the system end this process after so many seconds more of the processor, where it can (not on Windows).

    Damaged programs of 2 KB were met at which MLIR's parser does not end.
    """
    try:
        import resource  # of Unix only
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, hard))


def _check_program(exported: export.Exported) -> None:
    """Walks every operation of the module, and again with the sizes for a batch, before anything is compiled."""
    # Imported here and below: of all that scans, only such a program needs MLIR.
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import chlo, sdy, stablehlo

    with ir.Context() as context:
        for dialect in (stablehlo, chlo, sdy):
            dialect.register_dialect(context)
        _walk(stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized), MAX_ELEMENTS, True)
    sizes = exported.in_avals[0].shape if len(exported.in_avals) == 1 else ()
    # Others than programs of one batch of images, of fixed sizes, are refused when this has passed.
    if sizes and type(sizes[0]) is not int and all(type(size) is int for size in sizes[1:]):
        batch, module = _with_batch(exported)
        _walk(module, MAX_PER_IMAGE * batch, False)


def _with_batch(exported: export.Exported) -> tuple[int, Any]:
    """A size of batch, and the module with the sizes that follow from it."""
    # JAX has no public name for what it does with such sizes before it compiles.
    try:
        from jax._src.interpreters.mlir import refine_polymorphic_shapes
    except ImportError as error:
        raise CheckpointError(
            f"JAX {jax.__version__} does not tell what an open batch size makes of it; export it with a fixed one"
        ) from error

    (images,) = exported.in_avals
    for batch in BATCHES:
        args, kwargs = jax.tree.unflatten(
            exported.in_tree, [jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype)]
        )
        try:
            traced = jax.jit(exported.call).trace(*args, **kwargs)
        except ValueError:
            # The size of the batch is bounded, or a multiple of something.
            continue
        lowered = traced.lower(lowering_platforms=exported.platforms[:1])
        return batch, refine_polymorphic_shapes(lowered.compiler_ir("stablehlo"))
    raise CheckpointError(f"it takes no batch of {' or '.join(map(str, BATCHES))} images; export it with an open batch")


def _walk(module: Any, most: int, open_sizes: bool) -> None:
    """Every operation of a module; `most` elements make one tensor."""
    from jaxlib.mlir import ir

    refused: list[str] = []

    def check(operation: Any) -> ir.WalkResult:
        reason = _reason_to_refuse(operation.operation, most, open_sizes)
        if reason is None:
            return ir.WalkResult.ADVANCE
        # An exception would not come through the walk.
        refused.append(reason)
        return ir.WalkResult.INTERRUPT

    module.operation.walk(check)
    if refused:
        raise CheckpointError(f"{refused[0]}: refused")


def _reason_to_refuse(operation: Any, most: int, open_sizes: bool) -> str | None:
    from jaxlib.mlir import ir

    name = operation.name
    if name == "stablehlo.custom_call":
        target = ir.StringAttr(operation.attributes["call_target_name"]).value
        if target not in _CALLS:
            return f"the program calls {target!r}, which is outside of StableHLO"
    elif name in _REFUSED or name.split(".")[0] not in _DIALECTS:
        return f"the program uses {name}, which a classifier does not need"
    for result in operation.results:
        if isinstance(result.type, ir.RankedTensorType):
            sizes = result.type.shape
            if math.prod(size for size in sizes if size > 0) > most:
                return f"{name} makes a tensor of {list(sizes)}, which is too large"
            if not open_sizes and any(size < 0 for size in sizes):
                return f"{name} makes a tensor of a size that does not follow from the batch's"
    return None


def save(path: str | Path, classifier: Classifier, *, batch_size: int | None = None) -> None:
    """Writes a classifier's network, without its preprocessing, as an artefact that runs on CPU, CUDA and TPU.

    Args:
      batch_size: the only batch size that it will take; None leaves it open.
    """
    batch = batch_size or export.symbolic_shape("batch")[0]
    images = jax.ShapeDtypeStruct((batch, *classifier.input_shape), jnp.float32)
    program = jax.jit(lambda images: classifier.network.apply(classifier.variables, images))
    exported = export.export(program, platforms=("cpu", "cuda", "tpu"))(images)
    with atomic_write(path) as file:
        file.write(exported.serialize())
