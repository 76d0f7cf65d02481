"""The state dict in what a torch file's pickle holds: wrappers opened, everything else left alone and listed.

Modules that were pickled whole are looked into where there is no state dict beside them.
"""

from collections.abc import Sequence
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.torch import pickled_module, tensors
from xray_jax.checkpoints.torch.pickle_values import Call, Name, Persistent, Pickle
from xray_jax.checkpoints.torch.tensors import Container
from xray_jax.models.convolution_settings import ConvolutionSettings
from xray_jax.preprocess import PRESETS

_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "netC", "network", "net_state_dict", "classifier",
    "student", "params", "weights", "module", "backbone", "checkpoint",
)  # fmt: skip
"""In order of preference. `netC` is the classifier beside the generators of WaNet's and Input-aware's checkpoints."""

_TRAINING = ("optim", "sched", "lr_sched", "scaler", "ema", "state_dict_ema", "amp")
"""How entries begin that belong to the training and not to the network."""
_AVERAGED = ("ema", "state_dict_ema")

_MAX_NETWORKS = 8
_LONGEST_NAME = 256
"""Of a network in a file: every name of an array in it begins with it."""

_METADATA = ("model_name", "num_classes", "img_size", "clean_data", "arch", "architecture", "input_shape", "preprocess")

# Names through which pickles run code in practice. None is ever resolved, whether it is listed or not: the list only
# decides which files are called malicious instead of being read around.
_MALICIOUS_MODULES = frozenset(
    """os posix nt subprocess sys commands pty socket shutil importlib imp runpy ctypes _ctypes pickle _pickle cPickle
    marshal code codeop multiprocessing asyncio webbrowser urllib http ftplib smtplib timeit pdb bdb cProfile pip
    ensurepip venv zipimport operator builtins __builtin__ torch.hub""".split()  # noqa: SIM905
)
_HARMLESS_BUILTINS = frozenset(
    """set frozenset list dict tuple int float complex bool str bytes bytearray object slice range long
    unicode""".split()  # noqa: SIM905
)
_MALICIOUS_NAMES = frozenset(
    ("torch.load", "torch.serialization.load", "torch.jit.load", "numpy.load", "io.open", "_io.open")
)

_ADVICE = "save its state dict, torch.save(model.state_dict(), path), or export it to ONNX"


def extract(pickle: Pickle, container: Container, size: int) -> Tensors:
    """The state dict of a torch file, its tensors lazy, with what the file declares about itself.

    Raises:
      CheckpointError: for a pickle that asks for dangerous calls, an object that is no module, or no weights.
    """
    refuse_malice(pickle.names)
    known = _Known(modules=None)
    try:
        path, networks = _find(pickle.value, (), container, known)
    except CheckpointError:
        known = _Known(pickled_module.Modules())
        path, networks = _find(pickle.value, (), container, known)
    notes: list[str] = []
    convolutions: dict[str, ConvolutionSettings] = {}
    for name, module in known.opened.items():
        assert known.modules is not None
        notes.append(known.modules.note(module))
        start = f"{name}." if name else ""
        convolutions |= {start + layer: said for layer, said in known.modules.convolutions(module).items()}
    if path:
        notes.append(f"weights read from entry {'.'.join(path)}")
    if path and (others := [name for name in _networks(pickle.value, known) if name != path[0]]):
        notes.append(f"the file holds other networks, which are not scanned: {', '.join(others[:8])}")
    entries = {key: child for key, child in tensors.pairs(pickle.value) or () if isinstance(key, str)}
    averaged = [name[:_LONGEST_NAME] for name in entries if name.startswith(_AVERAGED)]
    if averaged := [name for name in averaged if known.holds_tensors(entries.get(name))]:
        notes.append(f"averaged weights of the training, which are not scanned: {', '.join(averaged[:8])}")
    arrays: dict[str, Any] = {}
    skipped: list[str] = []
    several = len(networks) > 1
    for network, key, value in ((network, *item) for network, items in networks.items() for item in items):
        if not isinstance(key, str):
            skipped.append(str(tensors.plain(key)))
            continue
        name = f"{network}.{key}" if several else key
        if name in arrays:
            raise CheckpointError(f"leaf {name} occurs twice")
        if tensors.is_tensor(value):
            try:
                arrays[name] = tensors.tensor(value, container)
            except CheckpointError as error:
                raise CheckpointError(f"leaf {name}: {error}") from error
        else:
            skipped.append(name)
    if skipped:
        notes.append(f"skipped, no tensors: {', '.join(skipped[:5])}{' ...' if len(skipped) > 5 else ''}")
    separate = tuple(networks) if several else ()
    metadata = _metadata(pickle.value)
    return Tensors(arrays, "torch", metadata, tuple(notes), size, separate, convolutions=convolutions)


def refuse_malice(names: set[Name]) -> None:
    """Refuses pickles that refer to what runs code: nothing would run it here, but the file is not what it seems.

    Raises:
      CheckpointError: naming it.
    """
    for name in sorted(names, key=str):
        top = name.module.split(".")[0]
        builtin = name.module in ("builtins", "__builtin__")
        if builtin and name.name in _HARMLESS_BUILTINS:
            continue
        if top in _MALICIOUS_MODULES or name.module in _MALICIOUS_MODULES or str(name) in _MALICIOUS_NAMES:
            raise CheckpointError(
                f"its pickle asks for {str(name)[:120]}, which no weights need: refused, and nothing was run; "
                "treat the file as malicious"
            )


Items = Sequence[tuple[Any, Any]]


class _Known:
    """What is known of a pickle's values, each looked at once: one may stand in a million places.

    Attributes:
      modules: that are looked into; None leaves them alone.
      opened: name of a network, "" of one alone -> the module that it is.
    """

    def __init__(self, modules: pickled_module.Modules | None) -> None:
        self.modules = modules
        self.opened: dict[str, Any] = {}
        self._holds: dict[tuple[int, int], bool] = {}

    def pairs(self, value: Any) -> Items | None:
        """Items of a dictionary, or of a module's state dict; None for everything else."""
        items = tensors.pairs(value)
        return self.modules.items(value) if items is None and self.modules is not None else items

    def holds_tensors(self, value: Any, depth: int = 3) -> bool:
        """Whether there are tensors in a dictionary, or in those inside of it."""
        # Some save the state dicts of several networks as a list; of one it is clear which.
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        key = id(value), depth
        if key not in self._holds:
            children = [child for _, child in self.pairs(value) or ()]
            self._holds[key] = any(map(tensors.is_tensor, children)) or (
                depth > 0 and any(self.holds_tensors(child, depth - 1) for child in children)
            )
        return self._holds[key]

    def network(self, value: Any, name: str = "") -> Items:
        """The items of what was found to be a network."""
        if tensors.pairs(value) is None:
            self.opened[name] = value
        return self.pairs(value) or ()


def _find(
    value: Any, path: tuple[str, ...], container: Container, known: _Known
) -> tuple[tuple[str, ...], dict[str, Items]]:
    """The entries that lead to the weights, and the weights: items by network; one network has the name ""."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    items = known.pairs(value)
    if items is None:
        raise CheckpointError(_why_not(value))
    entries = {key: child for key, child in items if isinstance(key, str)}
    wrapped = [name for name in _WRAPPERS if known.holds_tensors(entries.get(name))]
    if len(path) < 4:
        for name in wrapped[:1]:
            inner, networks = _find(entries[name], (*path, name), container, known)
            beside = {other: entries[other] for other in _networks(value, known) if other != name}
            flat = {other: child for other, child in beside.items() if _is_flat(child, known)}
            if list(networks) == [""] and 0 < len(flat) < _MAX_NETWORKS:
                # Whether one of them is a second classifier is told when they are recognised.
                known.opened = {name: known.opened[""]} if known.opened else {}
                return path, {name: networks[""], **{o: known.network(child, o) for o, child in flat.items()}}
            return inner, networks
    direct = [child for child in entries.values() if tensors.is_tensor(child)]
    if not all(_is_scalar(child, container) for child in direct):
        return path, {"": known.network(value)}
    # An accuracy or a step may be a tensor too.
    others = _networks(value, known)
    if len(others) == 1 and len(path) < 4:
        return _find(entries[others[0]], (*path, others[0]), container, known)
    if 0 < len(others) <= _MAX_NETWORKS and all(_is_flat(entries[name], known) for name in others):
        return path, {name: known.network(entries[name], name) for name in others}
    if others:
        raise CheckpointError(
            f"several entries hold tensors ({', '.join(others[:8])}); save the one to scan on its own"
        )
    modules = [child for name, child in entries.items() if _is_module(child)]
    raise CheckpointError(_why_not(modules[0]) if modules else f"it holds no tensors, only {sorted(entries)[:8]}")


def _networks(value: Any, known: _Known) -> list[str]:
    """Names of the entries that hold tensors and do not belong to the training."""
    entries = {key: child for key, child in known.pairs(value) or () if isinstance(key, str)}
    named = {name: child for name, child in entries.items() if len(name) <= _LONGEST_NAME and not _is_training(name)}
    return [name for name, child in named.items() if known.holds_tensors(child)]


def _is_training(name: str) -> bool:
    lower = name.lower()
    return name.startswith(_TRAINING) or name == "opt" or "optim" in lower or "sched" in lower


def _is_flat(value: Any, known: _Known) -> bool:
    """Whether a value is a state dict: names to tensors."""
    return known.pairs(value) is not None and known.holds_tensors(value, 0)


def _is_scalar(value: Any, container: Container) -> bool:
    try:
        return not tensors.tensor(value, container).shape
    except CheckpointError:
        # Not readable, so reported by name when the rest is.
        return False


def _is_module(value: Any) -> bool:
    return isinstance(value, Call) and tensors.pairs(value.state) is not None and not tensors.is_tensor(value)


def _why_not(value: Any) -> str:
    if isinstance(value, Call):
        function = value.function
        if isinstance(function, Persistent) and isinstance(function.id, tuple) and len(function.id) > 1:
            function = function.id[1]
        if not _is_module(value) and isinstance(value.arguments, tuple) and value.arguments:
            # copyreg._reconstructor and __newobj__ name the class as their first argument.
            inner = value.arguments[0]
            function = inner if isinstance(inner, Name) else function
        named = str(function)[:120] if isinstance(function, Name) else "an object"
        return f"it holds a whole pickled object ({named}), which only its own code could open: refused; {_ADVICE}"
    return f"it holds {type(value).__name__.lower()}, expected a dictionary of tensors; {_ADVICE}"


def _metadata(value: Any) -> dict[str, Any]:
    """What BackdoorBench's results and many others declare beside the weights."""
    entries = {key: child for key, child in tensors.pairs(value) or () if isinstance(key, str)}
    found = {key: tensors.plain(entries[key]) for key in _METADATA if key in entries}
    found = {key: value for key, value in found.items() if value is not None}
    # `architecture` is this package's word for a name of its registry; elsewhere it is anything.
    if "architecture" in found:
        found["model_name"] = found.pop("architecture")
    elif "arch" in found:
        found.setdefault("model_name", found.pop("arch"))
    data = found.get("clean_data")
    if isinstance(data, str) and data in PRESETS and "preprocess" not in found:
        found["preprocess"] = data
    return found
