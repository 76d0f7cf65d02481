"""Recognition of the architecture that named arrays belong to, from names and shapes alone.

Every architecture infers its sizes from the published shapes; what it infers must then have exactly the file's leaves.
Wrappers' prefixes (`module.`, `_orig_mod.`, `model.`, ...) and other published namings are undone by name, never by
position, and a match counts only when nothing is missing, extra or mis-shaped.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.models import options, plain, published, registry
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes

WRAPPERS = ("module", "_orig_mod", "model", "net", "network", "backbone", "classifier", "encoder", "0", "1")
"""Attribute names that wrap a whole network; others are undone only when every leaf lies below them."""

MAX_LEAVES = 3000
"""The largest network here has about 1,000 leaves; beyond this a file only costs time."""

_MAX_DEPTH = 6
_SIDES = (32, 28, *range(16, 97))
"""Of images, tried where options rule out the side that weights suggest."""
_CONSTANT_SIZE = 16
_NORMALISATION = re.compile(r"(^|[._])(mean|std|mu|sigma)$")


@dataclasses.dataclass(frozen=True)
class NetworkVariants:
    """The network variants that the weights of one network leave open (`classifier.NetworkVariants`).

    Attributes:
      family: name of the architecture.
      naming: name of its published naming.
      own: (height, width, channels) of the images for which the weights were read.
      fixed: fields that the user gave; networks that answer them otherwise are left out.
    """

    family: str
    naming: str
    own: tuple[int, int, int]
    fixed: tuple[str, ...] = ()

    def alternatives(
        self, network: Any, shown: tuple[int, int, int], usual: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """For each open question the networks that answer it on images of shape `shown`, the most usual first."""
        family, _ = registry.lookup(self.family)
        assert family.variants is not None
        asked = family.variants(network, self.own, shown, usual)
        kept = (tuple(n for n in axis if all(vars(n)[f] == vars(network)[f] for f in self.fixed)) for axis in asked)
        return tuple(axis for axis in kept if len(set(axis) | {network}) > 1)

    def of_images(self, shape: tuple[int, int, int]) -> "NetworkVariants":
        return dataclasses.replace(self, own=shape)

    def describe(self, network: Any) -> str:
        family, _ = registry.lookup(self.family)
        name, sizes = _describe(family, network)
        return f"{name}{sizes and options.describe(network)} (naming: {self.naming})"

    def note(self, network: Any) -> str:
        family, _ = registry.lookup(self.family)
        return family.note(network) if family.note else ""


class Recognised(NamedTuple):
    """A recognised network with its variables.

    Attributes:
      module: the linen module, class count and widths set.
      variables: its linen variables, float32 on the host.
      num_classes: width of the logits.
      input_shape: (height, width, channels) of its images.
      name: the preset's name, or the family's where no preset has these sizes: what `--architecture` takes.
      description: name, sizes and naming, for rows.
      notes: assumptions and skipped leaves, for rows.
      variants: other networks that the same weights fit; None when nothing is open.
    """

    module: nn.Module
    variables: dict[str, Any]
    num_classes: int
    input_shape: tuple[int, int, int]
    name: str
    description: str
    notes: tuple[str, ...]
    variants: NetworkVariants | None = None


class _View(NamedTuple):
    """The file's tensors below one prefix, and the leaves outside it."""

    prefix: str
    tensors: published.Tensors
    outside: Mapping[str, published.Tensor]


class _Candidate(NamedTuple):
    """A network that the leaves may belong to.

    Attributes:
      tensors: the view's, under the names of the architecture.
      mismatch: what does not fit; None when all does.
      preset: whether the user named a preset, which is taken as it is.
      fixed: fields that the user gave.
    """

    family: Architecture
    naming: Naming
    view: _View
    tensors: published.Tensors
    found: Inferred
    mismatch: published.MismatchError | None
    preset: bool = False
    fixed: tuple[str, ...] = ()

    def distance(self) -> float:
        """Share of the leaves, the network's and the file's, that do not match."""
        if self.mismatch is None:
            return 0.0
        return self.mismatch.count / (len(self.tensors) + len(self.mismatch.missing) + 1)


def recognise(tensors: Tensors, *, architecture: str | None = None, num_classes: int | None = None) -> Recognised:
    """Finds the network of `tensors` and reads the weights that it needs, nothing else.

    Args:
      tensors: names to arrays, of either layout. What its metadata says of the architecture is tried first, and
        dropped with a note when it does not fit.
      architecture: a family (its sizes are inferred) or a preset (taken as it is); None tries all.
      num_classes: checked against the weights.

    Raises:
      CheckpointError: when no network fits: names the two closest and what is missing and extra.
    """
    arrays = published.from_flax(tensors.arrays) if tensors.layout == "flax" else dict(tensors.arrays)
    if len(arrays) > MAX_LEAVES:
        raise CheckpointError(
            f"it has {len(arrays)} leaves, more than any architecture here ({MAX_LEAVES} at most); "
            "save the network's state dict alone"
        )
    views = list(_views(_View("", arrays, {})))
    candidates: list[_Candidate] = []
    notes: tuple[str, ...] = ()
    named = declared(tensors.metadata) if architecture is None else None
    for asked in (named, architecture) if named else (architecture,):
        try:
            candidates = _candidates(views, asked, num_classes)
        except ValueError as error:
            if asked == architecture:
                raise CheckpointError(str(error)) from error
            candidates = []
        if candidates and candidates[-1].mismatch is None:
            return _read(candidates[-1], num_classes, notes)
        notes = (f"the file calls itself {asked!r}, which does not fit its weights: recognised from them instead",)
    raise CheckpointError(_unknown(views, candidates, architecture))


def declared(metadata: Mapping[str, Any]) -> str | None:
    """The architecture that a file or a row declares; None without one.

    Args:
      metadata: of a file, or a row, whose descriptions of architectures begin with the name.
    """
    value = metadata.get("architecture") or metadata.get("model_name")
    return re.split(r"[ (,]", value)[0] if isinstance(value, str) and value else None


def _views(view: _View, depth: int = 0) -> Iterator[_View]:
    yield view
    first = {key.partition(".")[0] for key in view.tensors if not published.is_bookkeeping(key)}
    shared = len(first) == 1
    if depth == _MAX_DEPTH:
        return
    for wrapper in sorted(first) if shared else sorted(first & set(WRAPPERS)):
        start = wrapper + "."
        inside = {key.removeprefix(start): value for key, value in view.tensors.items() if key.startswith(start)}
        outside = {view.prefix + key: value for key, value in view.tensors.items() if not key.startswith(start)}
        # Weights that would be dropped could be half of the network; constants of a wrapper may.
        if inside and all(math.prod(tensor.shape) <= _CONSTANT_SIZE for tensor in outside.values()):
            yield from _views(_View(view.prefix + start, inside, {**view.outside, **outside}), depth + 1)


def _candidates(views: Sequence[_View], asked: str | None, num_classes: int | None) -> list[_Candidate]:
    """All networks that the leaves may belong to; the last one fits exactly if any does."""
    families, preset, given = registry.ARCHITECTURES, None, {}
    if asked is not None:
        family, preset = registry.lookup(asked)
        families = (family,)
        given = options.parse(asked)
    candidates = []
    # Plain nets come last, whatever the prefix: a chain of layers may be part of a more special network.
    for family in families:
        for view in views:
            for naming in (Naming(family.naming, ()), *family.namings):
                tensors = {naming.rename(key): tensor for key, tensor in view.tensors.items()}
                if len(tensors) < len(view.tensors):
                    continue
                shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
                for found in _found(family, preset, shapes, num_classes):
                    if given:
                        found = _with_options(family, found, given, tensors)
                    if (candidate := _candidate(family, naming, view, tensors, found)) is None:
                        continue
                    candidate = candidate._replace(preset=preset is not None, fixed=tuple(given))
                    candidates.append(candidate)
                    if candidate.mismatch is None:
                        return candidates
    return candidates


def _found(family: Architecture, preset: Any, shapes: Shapes, num_classes: int | None) -> Iterator[Inferred]:
    found = family.infer(shapes)
    if preset is None:
        if found is not None:
            yield found
        return
    classes = _num_classes(found.module) if found else num_classes or 10
    module = preset(num_classes=classes)
    if found is not None:
        notes = found.notes if module == found.module else ()
        yield Inferred(module, found.input_shape, notes)
    yield Inferred(module, family.input_shape)


def _with_options(
    family: Architecture, found: Inferred, given: Mapping[str, str], tensors: published.Tensors
) -> Inferred:
    """The network with fields that the user gave, on images of the first side for which its weights fit."""
    module = options.apply(found.module, given)
    notes = (family.note(module),) if family.note else found.notes
    for side in dict.fromkeys((found.input_shape[0], *_SIDES)):
        inferred = Inferred(module, (side, side, found.input_shape[2]), notes)
        candidate = _candidate(family, Naming(family.naming, ()), _View("", tensors, {}), tensors, inferred)
        if candidate and candidate.mismatch is None:
            return inferred
    return Inferred(module, found.input_shape, notes)


def _candidate(
    family: Architecture, naming: Naming, view: _View, tensors: published.Tensors, found: Inferred
) -> _Candidate | None:
    try:
        mismatch = published.compare(found.module, tensors, found.input_shape)
    except Exception:
        # Sizes that no network can have (a width of 0, a pool of nothing) raise anything at all in Flax and XLA.
        return None
    return _Candidate(family, naming, view, tensors, found, mismatch)


def _num_classes(module: nn.Module) -> int:
    # Every architecture has it, as a field or, around another network, as a property.
    return int(getattr(module, "num_classes"))  # noqa: B009


def _read(candidate: _Candidate, num_classes: int | None, notes: tuple[str, ...]) -> Recognised:
    found, view = candidate.found, candidate.view
    classes = _num_classes(found.module)
    if num_classes is not None and classes != num_classes:
        raise CheckpointError(f"its last layer has {classes} classes, {num_classes} were asked for (--num_classes)")
    name, sizes = _describe(candidate.family, found.module)
    try:
        variables = published.to_variables(found.module, candidate.tensors, found.input_shape)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from error
    description = f"{name}{sizes} (naming: {candidate.naming.name})"
    variants = None
    if candidate.family.variants and not candidate.preset:
        variants = NetworkVariants(candidate.family.name, candidate.naming.name, found.input_shape, candidate.fixed)
    return Recognised(
        found.module,
        variables,
        classes,
        found.input_shape,
        name,
        description,
        (*notes, *_prefix_notes(view), *found.notes),
        variants,
    )


def _describe(family: Architecture, module: nn.Module) -> tuple[str, str]:
    """Name of the preset, or of the family with the sizes in which it differs from the default."""
    classes = _num_classes(module)
    for name, preset in family.presets.items():
        if preset(num_classes=classes) == module:
            return name, ""
    if family is plain.ARCHITECTURE:
        # Its layers are the file's; what was assumed can be given back to `--architecture`.
        return family.name + options.describe(module), ""
    sizes = [
        f"{field.name}={value}"
        for field in dataclasses.fields(module)
        if field.name not in ("num_classes", "parent", "name") and (value := vars(module)[field.name]) != field.default
    ]
    return family.name, f", {', '.join(sizes)}" if sizes else ""


def _prefix_notes(view: _View) -> tuple[str, ...]:
    notes = []
    if view.prefix:
        notes.append(f"the prefix {view.prefix!r} was removed from every leaf")
    if re.search(r"(^|\.)\d+\.$", view.prefix):
        notes.append("the network ran inside a Sequential: what came before it (a resize, a normalisation) is not here")
    for key, tensor in view.outside.items():
        if _NORMALISATION.search(key):
            values = ", ".join(f"{value:.4g}" for value in np.asarray(tensor).ravel())
            notes.append(
                f"the file normalises inside the network, {key} = {values}: not applied, give it (--preprocess)"
            )
        elif not published.is_bookkeeping(key):
            notes.append(f"leaf {key} lies outside the network and is not used")
    return tuple(notes)


def _unknown(views: Sequence[_View], candidates: Sequence[_Candidate], architecture: str | None) -> str:
    candidates = list(candidates)
    if architecture is None and len({candidate.family.name for candidate in candidates}) < 2:
        # Nothing looks like a known family: compare with one of each.
        for family in registry.ARCHITECTURES:
            found = Inferred(next(iter(family.presets.values()))(), family.input_shape)
            naming = Naming(family.naming, ())
            if candidate := _candidate(family, naming, views[-1], views[-1].tensors, found):
                candidates.append(candidate)
    closest: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=_Candidate.distance):
        closest.setdefault(candidate.family.name, candidate)
    shown = []
    for candidate in list(closest.values())[:2]:
        assert candidate.mismatch is not None
        name, sizes = _describe(candidate.family, candidate.found.module)
        shown.append(f"{name}{sizes} (naming: {candidate.naming.name}): {candidate.mismatch.summary()}")
    which = "no known architecture has" if architecture is None else f"{architecture} does not have"
    leaves = ", ".join(sorted(views[0].tensors)[:3])
    return (
        f"{which} these {len(views[0].tensors)} leaves ({leaves}, ...). Closest: {' | '.join(shown)}. "
        "Name another with --architecture or as `architecture` in the manifest, with options where weights do not show "
        "them (plain:pool=avg:activation=tanh:padding=2+0:pool_after=1+2), or export the network to ONNX or with "
        "jax.export, which need no architecture"
    )
