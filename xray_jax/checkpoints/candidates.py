"""Networks that named arrays may belong to: every family under every published naming, below every wrapper's prefix."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn

from xray_jax.checkpoints import new_head
from xray_jax.checkpoints import outside as beside
from xray_jax.models import options, plain, published, registry
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes

WRAPPERS = ("module", "_orig_mod", "model", "net", "network", "backbone", "classifier", "encoder", "0", "1")
"""Attribute names that wrap a whole network; others are undone only when every leaf lies below them."""

_MAX_DEPTH = 6
_SIDES = (32, 28, *range(16, 97))
"""Of images, tried where options rule out the side that weights suggest."""
_MOST_COUNTED = 64
"""Numbers of options stay under it, or under what weights show: layers, sides, heads."""


class View(NamedTuple):
    """The file's tensors below one prefix, and the leaves outside it.

    Attributes:
      prefix: that was removed from the tensors' keys, with its dot.
      tensors: key -> tensor.
      outside: whole key -> tensor: constants of a wrapper, copies of the network.
      head: key -> tensor of linear layers that may stand in place of the network's last one; None without any.
    """

    prefix: str
    tensors: published.Tensors
    outside: Mapping[str, published.Tensor]
    head: published.Tensors | None = None


class Candidate(NamedTuple):
    """A network that the leaves may belong to.

    Attributes:
      tensors: the view's, under the names of the architecture.
      uncalled: keys of the view's layers that its publishers' networks never call.
      mismatch: what does not fit; None when all does.
      preset: that the user named, which is taken as it is; "" without one.
      fixed: fields that the user or a config.json gave.
      head: the layers in place of the network's last one; None for a network that has its own.
    """

    family: Architecture
    naming: Naming
    view: View
    tensors: published.Tensors
    uncalled: tuple[str, ...]
    found: Inferred
    mismatch: published.MismatchError | None
    preset: str = ""
    fixed: tuple[str, ...] = ()
    head: new_head.Head | None = None

    def distance(self) -> float:
        """Share of the leaves, the network's and the file's, that do not match."""
        if self.mismatch is None:
            return 0.0
        return self.mismatch.count / (len(self.tensors) + len(self.mismatch.missing) + 1)

    def describe(self) -> tuple[str, str]:
        """Name of the preset, or of the family, and the sizes in which it differs from the family's default."""
        told = dict.fromkeys((*(name for name, _ in self.naming.fields), *self.fixed))
        return describe(self.family, self.found.module, tuple(told), self.preset)


def views(view: View, depth: int = 0) -> Iterator[View]:
    """The view, and those below wrappers' prefixes."""
    yield view
    first = {key.partition(".")[0] for key in view.tensors if not published.is_bookkeeping(key)}
    shared = len(first) == 1
    if depth == _MAX_DEPTH:
        return
    for wrapper in sorted(first) if shared else sorted(first & set(WRAPPERS)):
        start = wrapper + "."
        inside = {key.removeprefix(start): value for key, value in view.tensors.items() if key.startswith(start)}
        outside = {view.prefix + key: value for key, value in view.tensors.items() if not key.startswith(start)}
        # Weights that would be dropped could be half of the network; constants of a wrapper may, and copies.
        if inside and all(beside.may_lie(key, tensor, inside) for key, tensor in outside.items()):
            yield from views(View(view.prefix + start, inside, {**view.outside, **outside}, view.head), depth + 1)


def without_heads(seen: Sequence[View]) -> Iterator[View]:
    """The views again, each without the leaves that may be a new head."""
    for view in seen:
        for inside, head in new_head.splits(view.tensors):
            yield from views(View(view.prefix, inside, view.outside, head))


def candidates(
    seen: Sequence[View],
    asked: str | None,
    num_classes: int | None,
    told: tuple[tuple[str, Any], ...] = (),
    config: Mapping[str, Any] | None = None,
) -> list[Candidate]:
    """All networks that the leaves may belong to; the last one fits exactly if any does, best without layers outside.

    Args:
      seen: the views to look at.
      asked: a family or preset, with options; None tries all families.
      num_classes: of a preset for which weights do not show it.
      told: fields that the file's format says of networks that have them; a preset is taken as it is.
      config: what a config.json beside the weights says; a preset is taken as it is.

    Raises:
      ValueError: an unknown family, preset or option, or a config.json that no network here has.
    """
    families, preset, given, named = registry.ARCHITECTURES, None, {}, ""
    if asked is not None:
        family, preset = registry.lookup(asked)
        families = (family,)
        given = options.parse(asked)
        named = asked.partition(":")[0] if preset else ""
    found: list[Candidate] = []
    parts: list[Candidate] = []
    # Plain nets come last, whatever the prefix: a chain of layers may be part of a more special network.
    for family in families:
        for view in seen:
            for naming in (Naming(family.naming, ()), *family.namings):
                if (renamed := _renamed(view.tensors, naming)) is None:
                    continue
                tensors, uncalled = renamed
                head = None
                if view.head:
                    if (attached := new_head.attached(tensors, view.head, family.head)) is None:
                        continue
                    tensors, head = attached
                shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
                for inferred in _inferred(family, preset, shapes, num_classes):
                    inferred = _of_fields(family, inferred, (*(told if preset is None else ()), *naming.fields))
                    stated: tuple[str, ...] = ()
                    if config and not preset:
                        inferred, stated = _of_config(family, inferred, config, tensors)
                    if given:
                        inferred = _with_options(family, inferred, given, tensors)
                    if (candidate := compared(family, naming, view, tensors, inferred)) is None:
                        continue
                    candidate = candidate._replace(uncalled=uncalled, preset=named, fixed=(*stated, *given), head=head)
                    found.append(candidate)
                    if candidate.mismatch is None:
                        if not beside.layers(view.outside, view.tensors):
                            return found
                        parts.append(candidate)
    return [*found, *parts[:1]]


def _renamed(tensors: published.Tensors, naming: Naming) -> tuple[published.Tensors, tuple[str, ...]] | None:
    """(tensors under this package's names, keys of layers that are never called); None where the naming is another's.

    Two keys that become one are another's, and so is a naming that says what weights do not show and renames a single
    layer here: the last one, which people call as they like.
    """
    renamed: dict[str, published.Tensor] = {}
    uncalled, layers = [], set()
    for key, tensor in tensors.items():
        name = naming.rename(key)
        if name != key:
            layers.add(key.rpartition(".")[0])
        if naming.drops(name):
            uncalled.append(key)
        elif name in renamed:
            return None
        else:
            renamed[name] = tensor
    return None if naming.fields and len(layers) == 1 else (renamed, tuple(uncalled))


def _inferred(family: Architecture, preset: Any, shapes: Shapes, num_classes: int | None) -> Iterator[Inferred]:
    found = family.infer(shapes)
    if preset is None:
        if found is not None:
            yield found
        return
    classes = class_count(found.module) if found else num_classes or 10
    module = preset(num_classes=classes)
    if found is not None:
        notes = found.notes if module == found.module else ()
        yield Inferred(module, found.input_shape, notes)
    yield Inferred(module, family.input_shape)


def _of_fields(family: Architecture, found: Inferred, told: tuple[tuple[str, Any], ...]) -> Inferred:
    """The network with those of the fields that it has: as its publishers, or networks of a format, have it."""
    known = {name: value for name, value in told if hasattr(found.module, name)}
    if not known:
        return found
    module = found.module.clone(**known)
    return Inferred(module, found.input_shape, (family.note(module),) if family.note else found.notes)


def _of_config(
    family: Architecture, found: Inferred, config: Mapping[str, Any], tensors: published.Tensors
) -> tuple[Inferred, tuple[str, ...]]:
    """The network as a config.json beside its weights has it, and the fields that are said there."""
    stated = {f: config[key] for key, f in family.config.items() if key in config and hasattr(found.module, f)}
    if not stated or not _exists(found.module, tensors, found.input_shape):
        return found, ()
    module = options.apply(found.module, {name: _as_option(value) for name, value in stated.items()})
    said = ", ".join(f"{name} {value}" for name, value in stated.items())
    if not _exists(module, tensors, found.input_shape):
        raise ValueError(f"its config.json says {said}: no {family.name} here has that; export the network to ONNX")
    notes = (family.note(module),) if family.note else found.notes
    return Inferred(module, found.input_shape, (*notes, f"config.json says {said}")), tuple(stated)


def _as_option(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _exists(module: nn.Module, tensors: published.Tensors, shape: tuple[int, int, int]) -> bool:
    """Whether a network can have these sizes; whether the tensors are its own is another question."""
    try:
        published.compare(module, tensors, shape)
    except Exception:
        # Sizes that no network can have (a width of 0, a pool of nothing) raise anything at all in Flax and XLA.
        return False
    return True


def _with_options(
    family: Architecture, found: Inferred, given: Mapping[str, str], tensors: published.Tensors
) -> Inferred:
    """The network with fields that the user gave, on images of the first side for which its weights fit."""
    module = options.apply(found.module, given)
    _check_counts(found.module, module, len(tensors))
    before = None
    for side in dict.fromkeys((found.input_shape[0], *_SIDES)):
        inferred = Inferred(module, (side, side, found.input_shape[2]), found.notes)
        candidate = compared(family, Naming(family.naming, ()), View("", tensors, {}), tensors, inferred)
        if candidate is None:
            continue
        if candidate.mismatch is None:
            return Inferred(module, inferred.input_shape, (family.note(module),)) if family.note else inferred
        # Sides change the length of flattened features, never the names; what one side leaves, others leave too.
        wrong = candidate.mismatch.misshaped
        if candidate.mismatch.missing or candidate.mismatch.extra or wrong == before:
            break
        before = wrong
    return Inferred(module, found.input_shape, found.notes)


def _check_counts(shown: nn.Module, module: nn.Module, leaves: int) -> None:
    """Refuses numbers beyond all that the weights show: a network of as many layers takes time for nothing.

    Raises:
      ValueError: the option, and what it may be.
    """
    before = options.fields(shown)
    for name, value in options.fields(module).items():
        most = max(_total(before[name]), leaves, _MOST_COUNTED)
        if _total(value) > most:
            raise ValueError(f"option {name} is {value}: its weights show {before[name]}, and {most} in all at most")


def _total(value: Any) -> int:
    numbers = value if isinstance(value, tuple) else (value,)
    return sum(abs(number) for number in numbers if isinstance(number, int))


def compared(
    family: Architecture, naming: Naming, view: View, tensors: published.Tensors, found: Inferred
) -> Candidate | None:
    """The network beside the tensors of a view; None for sizes that no network can have."""
    if not _exists(found.module, tensors, found.input_shape):
        return None
    mismatch = published.compare(found.module, tensors, found.input_shape)
    return Candidate(family, naming, view, tensors, (), found, mismatch)


def class_count(module: nn.Module) -> int:
    """Number of labels of any network here."""
    # Every architecture has it, as a field or, around another network, as a property.
    return int(getattr(module, "num_classes"))  # noqa: B009


def describe(family: Architecture, module: nn.Module, told: tuple[str, ...] = (), preset: str = "") -> tuple[str, str]:
    """Name of the preset, or of the family with the sizes in which it differs from the default.

    Args:
      told: fields that neither weights nor the family's own names show: they become options behind the name, so that
        the name alone gives the same network again.
      preset: of which the others are.
    """
    classes = class_count(module)
    for name, build in family.presets.items():
        if build(num_classes=classes) == module:
            return name, ""
    if family is plain.ARCHITECTURE:
        # Its layers are the file's; what was assumed can be given back to `--architecture`.
        return family.name + options.describe(module), ""
    sizes = [
        f"{field.name}={_shown(value)}"
        for field in dataclasses.fields(module)
        if field.name not in ("num_classes", "parent", "name", *told)
        and (value := vars(module)[field.name]) != field.default
    ]
    return (preset or family.name) + options.describe(module, told), f", {', '.join(sizes)}" if sizes else ""


def _shown(value: Any) -> str:
    return type(value).__name__ + options.describe(value) if isinstance(value, nn.Module) else str(value)
