"""Recognition of the architecture that named arrays belong to, from names and shapes alone.

Every architecture infers its sizes from the published shapes; what it infers must then have exactly the file's leaves.
Wrappers' prefixes (`module.`, `_orig_mod.`, `model.`, ...) and other published namings are undone by name, never by
position, and a match counts only when nothing is missing, extra or mis-shaped.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from xray_jax.checkpoints import agreement, candidates, outside, reparametrised, unrecognised
from xray_jax.checkpoints.candidates import Candidate, View
from xray_jax.checkpoints.contents import CONFIG, PART, CheckpointError, SeveralNetworksError, Tensors
from xray_jax.checkpoints.variants import FLAX, HeadVariants, NetworkVariants
from xray_jax.models import published, registry
from xray_jax.models.architecture import Architecture
from xray_jax.models.new_head import NewHead
from xray_jax.preprocess import Preprocess

MAX_LEAVES = 3000
"""The largest network here has about 1,000 leaves; beyond this a file only costs time."""

MAX_NAMES = 1 << 18
"""Characters of all names together; a network of `MAX_LEAVES` stays under it with 87 a name."""

_MAX_VIEWS = 24


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
      preprocess: what a wrapper of the network does to images first; None where the file has no such constants.
    """

    module: nn.Module
    variables: dict[str, Any]
    num_classes: int
    input_shape: tuple[int, int, int]
    name: str
    description: str
    notes: tuple[str, ...]
    variants: NetworkVariants | HeadVariants | None = None
    preprocess: Preprocess | None = None


def recognise(tensors: Tensors, *, architecture: str | None = None, num_classes: int | None = None) -> Recognised:
    """Finds the network of `tensors` and reads the weights that it needs, nothing else.

    Args:
      tensors: names to arrays, of either layout. What its metadata says of the architecture is tried first, and
        dropped with a note when it does not fit.
      architecture: a family (its sizes are inferred) or a preset (taken as it is); None tries all.
      num_classes: checked against the weights.

    Raises:
      CheckpointError: when no network fits: names the two closest and what is missing and extra.
      SeveralNetworksError: when several networks of a file do.
    """
    if len(tensors.networks) > 1:
        return _of_several(tensors, architecture, num_classes)
    try:
        arrays = published.from_flax(tensors.arrays) if tensors.layout == "flax" else dict(tensors.arrays)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if len(arrays) > MAX_LEAVES:
        raise CheckpointError(
            f"it has {len(arrays)} leaves, more than any architecture here ({MAX_LEAVES} at most); "
            "save the network's state dict alone"
        )
    if sum(map(len, arrays)) > MAX_NAMES:
        raise CheckpointError(f"the names of its leaves have more than {MAX_NAMES} characters: no network's do")
    arrays, notes = reparametrised.effective(arrays)
    seen = list(itertools.islice(candidates.views(View("", *outside.without_criteria(arrays))), _MAX_VIEWS))
    told = FLAX if tensors.layout == "flax" and not tensors.own else ()
    found: list[Candidate] = []
    named = declared(tensors.metadata) if architecture is None else None
    config = tensors.metadata.get(CONFIG)
    config = config if isinstance(config, Mapping) else None
    for asked in (named, architecture) if named else (architecture,):
        try:
            found = candidates.candidates(seen, asked, num_classes, told, config)
            if not found or found[-1].mismatch is not None:
                headless = list(itertools.islice(candidates.without_heads(seen), _MAX_VIEWS))
                found += _with_new_heads(candidates.candidates(headless, asked, num_classes, told, config))
        except ValueError as error:
            if asked == architecture:
                raise CheckpointError(str(error)) from error
            found = []
        if found and found[-1].mismatch is None:
            chosen = found[-1]
            if architecture is None:
                _refuse_another(chosen.family, named, config or {})
                chosen = agreement.agreeing(chosen, tensors.convolutions)
            if asked != architecture and not tensors.own:
                # What a file calls itself is no word on what weights leave open.
                chosen = chosen._replace(preset="")
            return _read(chosen, num_classes, notes)
        notes += (f"the file calls itself {asked!r}, {_why_not(asked)}",)
    raise CheckpointError(unrecognised.message(seen, found, architecture, tensors.layout))


def _refuse_another(family: Architecture, named: str | None, config: Mapping[str, Any]) -> None:
    """Refuses weights of which the file says that another network computes with them.

    Raises:
      CheckpointError: saying which.
    """
    said = [
        f"{key} {str(config[key])[:80]!r}" for key, value in family.assumed.items() if config.get(key, value) != value
    ]
    if family.others and named is not None and re.search(family.others, named):
        said.append(f"name {named[:80]!r}")
    if said:
        raise CheckpointError(
            f"its weights are those of a {family.name}, but it says {', '.join(said)}, which is another network, not "
            "known here: export it to ONNX, or name the network to read it as (--architecture)"
        )


def _with_new_heads(found: list[Candidate]) -> list[Candidate]:
    """The network with a new head, if one fits; what nearly fits without its last layer tells nobody anything."""
    return [candidate for candidate in found[-1:] if candidate.mismatch is None]


def _of_several(tensors: Tensors, architecture: str | None, num_classes: int | None) -> Recognised:
    """The one network of several in a file that is a classifier of a known architecture."""
    known: dict[str, str] = {}
    others: dict[str, CheckpointError] = {}
    chosen = None
    for name in tensors.networks:
        try:
            # Weights of one at a time are held: each may take as much as the file has.
            found = recognise(tensors.network(name), architecture=architecture, num_classes=num_classes)
        except CheckpointError as error:
            others[name] = error
        else:
            chosen, known[name] = found if not known else None, found.description
    if chosen is not None:
        note = f"of the networks in the file {next(iter(known))!r} is the classifier"
        return chosen._replace(notes=(f"{note}; not scanned: {', '.join(sorted(others))}", *chosen.notes))
    if known:
        which = ", ".join(f"{name} ({description})" for name, description in sorted(known.items()))
        message = f"it holds several classifiers, {which}"
        if not all(map(PART.fullmatch, known)):
            raise CheckpointError(f"{message}: save each state dict in a file of its own")
        raise SeveralNetworksError(f"{message}: name one behind the path, as #{min(known)}", tuple(sorted(known)))
    which = " | ".join(f"{name}: {error}" for name, error in list(others.items())[:2])
    raise CheckpointError(f"it holds {len(others)} networks, none of which is known: {which}")


def declared(metadata: Mapping[str, Any]) -> str | None:
    """The architecture that a file or a row declares; None without one.

    Args:
      metadata: of a file, or a row, whose descriptions of architectures begin with the name. `architecture` is this
        package's word, with options; `model_name` is anybody's, and none knows options.
    """
    for key, end in (("architecture", r"[ (,]"), ("model_name", r"[ (,:]")):
        value = metadata.get(key)
        if isinstance(value, str) and value:
            return re.split(end, value)[0]
    return None


def _why_not(declared: str | None) -> str:
    """Why what a file declares is not what it holds, for a note."""
    try:
        registry.lookup(declared or "")
    except ValueError:
        return "a name that is not known here: recognised from its weights"
    return "which does not fit its weights: recognised from them instead"


def _read(candidate: Candidate, num_classes: int | None, notes: tuple[str, ...]) -> Recognised:
    found, view, family, head = candidate.found, candidate.view, candidate.family, candidate.head
    module, tensors = found.module, candidate.tensors
    if head is not None and head.layers:
        module, tensors = head.around(found.module), head.joined(tensors)
    classes = candidates.class_count(module)
    if num_classes is not None and classes != num_classes:
        raise CheckpointError(f"its last layer has {classes} classes, {num_classes} were asked for (--num_classes)")
    name, sizes = candidate.describe()
    outside.refuse_layers(view.outside, view.tensors, name, view.prefix)
    try:
        variables = published.to_variables(module, tensors, found.input_shape)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from error
    preprocess = outside.normalisation(view.outside, found.input_shape[2])
    around = outside.notes(view.outside, view.tensors, view.prefix, candidate.uncalled, preprocess is not None)
    if head is not None:
        around += (head.note(),)
    recognised = Recognised(
        module,
        variables,
        classes,
        found.input_shape,
        name,
        f"{name}{sizes} (naming: {candidate.naming.name})",
        (*notes, *around, *found.notes),
        _open(candidate),
        preprocess,
    )
    return _headed(recognised, family, module) if isinstance(module, NewHead) else recognised


def _open(candidate: Candidate) -> NetworkVariants | None:
    """What weights leave open of a network with its own last layer."""
    family, which = candidate.family, candidate.family.open_namings
    usual = family.variants is not None and (which is None or candidate.naming.name in which)
    if candidate.preset or not (usual or family.unusual is not None):
        return None
    return NetworkVariants(
        family.name, candidate.naming.name, candidate.found.input_shape, candidate.fixed, settled=not usual
    )


def _headed(recognised: Recognised, family: Architecture, module: NewHead) -> Recognised:
    """The same with what a new head adds to description, assumptions and what is open."""
    inner = recognised.variants
    assert not isinstance(inner, HeadVariants)
    variants = HeadVariants(family.name, module.network, recognised.description, inner)
    note = family.note(module.network) if family.note else ""
    notes = (*(each for each in recognised.notes if each != note), variants.note(module))
    return recognised._replace(description=variants.describe(module), notes=notes, variants=variants)
