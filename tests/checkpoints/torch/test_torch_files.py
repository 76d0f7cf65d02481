"""Torch files against torch itself, which only these tests import."""

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest

from tests import factory
from tests.places import FOREIGN
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, SeveralNetworksError, formats
from xray_jax.models import published

torch = pytest.importorskip("torch", reason="torch is the reference here (extra `test`)")

KINDS = {"zip": True, "legacy": False}


@pytest.fixture(params=KINDS)
def save(request, tmp_path):
    """Saves as `torch.save` does, in either format."""

    def to_file(content, **options):
        path = tmp_path / f"{request.param}.pth"
        torch.save(content, path, _use_new_zipfile_serialization=KINDS[request.param], **options)
        return path

    return to_file


def read(path):
    return {name: np.asarray(array) for name, array in formats.read(path).arrays.items()}


def as_numpy(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy()
    return tensor.detach().numpy()


def assert_reads(path, expected) -> None:
    found = read(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype.name == str(tensor.dtype).removeprefix("torch."), name
        array = found[name].view(np.int16) if found[name].dtype.name == "bfloat16" else found[name]
        np.testing.assert_array_equal(array, as_numpy(tensor), err_msg=name)


def assert_reads_network(path, name, expected) -> None:
    found = formats.read(path).network(name)
    assert {key: tuple(array.shape) for key, array in found.arrays.items()} == {
        key: tuple(tensor.shape) for key, tensor in expected.items()
    }


def tiny_state_dict():
    tensors = published.to_tensors(factory.tiny_variables())
    return collections.OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in tensors.items())


ALL_DTYPES = "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool complex64".split()  # noqa: SIM905


def test_every_dtype(save):
    torch.manual_seed(0)
    content = {name: (torch.randn(3, 4) * 5).to(getattr(torch, name)) for name in ALL_DTYPES}
    assert_reads(save(content), content)


def test_strides_offsets_and_shared_storages(save):
    base = torch.arange(240.0).reshape(2, 3, 5, 8)
    content = {
        "whole": base,
        "permuted": base.permute(3, 1, 0, 2),
        "sliced": base[1, ::2, 1:4, 2::3],
        "same": base[0],
        "expanded": torch.tensor([7.0]).expand(4, 4),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 5),
        "parameter": torch.nn.Parameter(base[0, 0].t()),
    }
    path = save(content)
    assert_reads(path, content)
    if zipfile.is_zipfile(path):
        # One storage in the file for all views of `base`.
        assert sum("/data/" in name for name in zipfile.ZipFile(path).namelist()) < len(content)


def test_memory_of_shared_storages_is_bounded(save):
    base = torch.zeros(1 << 20)
    with pytest.raises(CheckpointError, match="unpack to"):
        formats.read(save({f"leaf{k}": base for k in range(40)}))
    with pytest.raises(CheckpointError, match="unpack to"):
        formats.read(save({"huge": torch.zeros(1).expand(1 << 40)}))


# Torch itself cannot write protocol 0, whose references must be strings.
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_pickle_protocol(save, protocol):
    content = tiny_state_dict()
    assert_reads(save({"state_dict": content, "epoch": 3}, pickle_protocol=protocol), content)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "netC", "anything"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "1.", "model.", "net.", "module._orig_mod."])
def test_wrappers_and_prefixes(save, wrapper, prefix):
    content = {prefix + name: tensor for name, tensor in tiny_state_dict().items()}
    content[prefix + "layer1.0.bn1.num_batches_tracked"] = torch.tensor(8)
    path = save({"epoch": 9, "acc": torch.tensor(0.9), wrapper: content, "optimizer": {"state": {0: torch.ones(2)}}})
    model = checkpoints.load(path, input_shape=(8, 8, 3))
    assert model.network == factory.TINY
    expected = factory.tiny_variables()
    np.testing.assert_array_equal(
        model.variables["params"]["layer2.0"]["shortcut.0"]["kernel"],
        expected["params"]["layer2.0"]["shortcut.0"]["kernel"],
    )


def test_bare_state_dict_with_its_metadata(save):
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
    content = layer.state_dict()
    assert content._metadata
    assert_reads(save(content), content)


@pytest.mark.parametrize("order", ["little", "big"])
def test_byte_order_marker(tmp_path, order, monkeypatch):
    # Torch writes the marker of the machine; a file of a big-endian one has swapped storages.
    content = {
        "a": torch.arange(6.0),
        "b": torch.arange(6).to(torch.bfloat16),
        "c": torch.ones(2, dtype=torch.complex64),
    }
    torch.save(content, tmp_path / "native.pt")
    with zipfile.ZipFile(tmp_path / "native.pt") as old, zipfile.ZipFile(tmp_path / "new.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/byteorder"):
                data = order.encode()
            elif "/data/" in name and order == "big":
                width = {0: 4, 1: 2, 2: 4}[int(name.rsplit("/", 1)[1])]
                data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
            new.writestr(name, data)
    assert torch.equal(torch.load(tmp_path / "new.pt")["a"], content["a"])
    assert_reads(tmp_path / "new.pt", content)


def test_legacy_system_info_does_not_swap(tmp_path, monkeypatch):
    """Torch's stream writer always writes little-endian and its reader ignores the flag; so does ours."""
    content = {"a": torch.arange(6.0)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    flag = data.index(b"little_endian") + len(b"little_endian")
    flipped = data[:flag] + data[flag:].replace(b"\x88", b"\x89", 1)
    (tmp_path / "a.pt").write_bytes(flipped)
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=False)["a"], content["a"])
    assert_reads(tmp_path / "a.pt", content)


def test_recompressed_archive(tmp_path):
    content = tiny_state_dict()
    torch.save(content, tmp_path / "stored.pt")
    with zipfile.ZipFile(tmp_path / "stored.pt") as old, zipfile.ZipFile(tmp_path / "d.pt", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_reads(tmp_path / "d.pt", content)


def test_written_without_checksums_is_noted(tmp_path):
    content = tiny_state_dict()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_reads(tmp_path / "a.pt", content)
    assert "written without checksums" in formats.read(tmp_path / "a.pt").notes


def test_numpy_arrays_in_a_torch_file_and_in_a_plain_pickle(tmp_path, save):
    generator = np.random.default_rng(0)
    content = {
        "small": generator.normal(size=(3, 4)),
        "large": generator.normal(size=(40, 50)).astype(np.float32),
        "fortran": np.asfortranarray(generator.normal(size=(5, 6)).astype(">f4")),
    }
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
        for path in (tmp_path / "a.pkl", save(content, pickle_protocol=max(protocol, 1))):
            found = read(path)
            for name, array in content.items():
                np.testing.assert_array_equal(found[name], array)


def test_only_what_is_asked_for_is_read(tmp_path):
    """A damaged storage of the optimiser does not matter; one of the weights does."""
    content = {"state_dict": {"a": torch.ones(64)}, "optimizer": {"b": torch.full((64,), 2.0)}}
    torch.save(content, tmp_path / "a.pt")
    data = bytearray((tmp_path / "a.pt").read_bytes())
    where = data.index(torch.full((64,), 2.0).numpy().tobytes())
    data[where] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "a.pt")["a"], np.ones(64, np.float32))
    torch.save({"a": content["optimizer"]["b"]}, tmp_path / "b.pt")
    data = bytearray((tmp_path / "b.pt").read_bytes())
    data[data.index(torch.full((64,), 2.0).numpy().tobytes())] ^= 1
    (tmp_path / "b.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        read(tmp_path / "b.pt")


def test_file_rewritten_while_it_is_read(tmp_path):
    torch.save({"a": torch.ones(64)}, tmp_path / "a.pt")
    lazy = formats.read(tmp_path / "a.pt").arrays["a"]
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="changed while it was read"):
        np.asarray(lazy)


class Tiny:
    """An object of someone's own, with a tensor in it."""

    def __init__(self) -> None:
        self.layer = torch.ones(2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrapped", [False, True])
def test_objects_that_are_no_modules_are_refused_with_advice(save, wrapped):
    path = save({"model": Tiny(), "epoch": 3} if wrapped else Tiny())
    with pytest.raises(CheckpointError, match=r"whole pickled object \(.*Tiny\).*state dict.*ONNX"):
        checkpoints.load(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("traced", [False, True])
def test_weights_of_a_program(tmp_path, traced):
    """The same leaves as its state dict, and nothing of its code."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten()).eval()
    network.append(torch.nn.Linear(4 * 6 * 6, 5))
    program = torch.jit.trace(network, torch.zeros(1, 3, 8, 8)) if traced else torch.jit.script(network)
    program.save(str(tmp_path / "a.pt"))
    assert_reads(tmp_path / "a.pt", network.state_dict())
    assert any("code was not run" in note for note in formats.read(tmp_path / "a.pt").notes)


@pytest.mark.filterwarnings("ignore")
def test_a_program_without_weights(tmp_path):
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "a.pt"))
    with pytest.raises(CheckpointError, match=r"TorchScript.*state dict"):
        checkpoints.load(tmp_path / "a.pt")


def test_a_list_of_one_state_dict(save):
    content = tiny_state_dict()
    assert_reads(save({"epoch": 3, "state_dict": [content]}), content)
    with pytest.raises(CheckpointError, match="no tensors"):
        formats.read(save({"epoch": 3, "state_dict": [content, content]}))


def test_unread_kinds_of_tensors_are_named(save):
    with pytest.raises(CheckpointError, match=r"leaf sparse: .*_rebuild_sparse_tensor"):
        formats.read(save({"sparse": torch.eye(3).to_sparse()}))
    with pytest.raises(CheckpointError, match="expected floating-point"):
        checkpoints.load(save({name: tensor.to(torch.int32) for name, tensor in tiny_state_dict().items()}))


def test_the_classifier_of_several_networks_is_taken_and_the_others_named(save):
    content, other = tiny_state_dict(), {"a": torch.ones(2)}
    path = save({"netG": other, "netC": content, "netM": other, "optimizerC": {"state": {0: other}}})
    assert_reads_network(path, "netC", content)
    model = checkpoints.load(path)
    assert "of the networks in the file 'netC' is the classifier; not scanned: netG, netM" in model.notes
    model = checkpoints.load(save({"critic": other, "mine": content, "lr_scheduler": other, "epoch": 3}))
    assert any("'mine' is the classifier; not scanned: critic" in note for note in model.notes)


def test_several_classifiers_or_none_are_refused(save):
    with pytest.raises(CheckpointError, match="holds 2 networks, none of which is known: generator: no known"):
        checkpoints.load(save({"generator": {"a": torch.ones(2)}, "critic": {"a": torch.ones(2)}}))
    for names in (("first", "second"), ("net", "teacher")):
        with pytest.raises(
            SeveralNetworksError, match=rf"several classifiers, {names[0]} \(.*, {names[1]} \(.*#"
        ) as why:
            checkpoints.load(save({name: tiny_state_dict() for name in names}))
        assert why.value.parts == names
    deeper = {"a": {"b": torch.ones(2)}}
    with pytest.raises(CheckpointError, match="several entries hold tensors"):
        formats.read(save({"generator": deeper, "critic": deeper}))
    with pytest.raises(CheckpointError, match=r"'net' and 'net\.b', run into each other"):
        formats.read(save({"net": tiny_state_dict(), "net.b": tiny_state_dict()}))


@pytest.mark.skipif(not FOREIGN.is_dir(), reason="the shared foreign checkpoints are not on this machine")
@pytest.mark.parametrize("name", sorted(f.name for f in FOREIGN.glob("*.[pt]*[htr]")) if FOREIGN.is_dir() else [])
def test_foreign_files_read_as_torch_reads_them(name):
    content = torch.load(FOREIGN / name, map_location="cpu", weights_only=True)
    content = next((content[key] for key in ("state_dict", "net") if key in content), content)
    assert_reads(FOREIGN / name, {key: torch.Tensor.contiguous(tensor) for key, tensor in content.items()})


@pytest.mark.skipif(not FOREIGN.is_dir(), reason="the shared foreign checkpoints are not on this machine")
def test_the_foreign_module_pickle_is_read_for_its_weights():
    model = checkpoints.load(FOREIGN / "c10_tonggege_cnn6.pkl")
    assert model.architecture.startswith("cnn6-elu-bn (naming: one Sequential)")
    (note,) = (note for note in model.notes if "pickled model.DefaultModel" in note)
    assert "6 ELU, 3 MaxPool2d" in note


def test_pickle_of_torch_tensors_names_the_way_out(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tiny_state_dict()))
    with pytest.raises(CheckpointError, match=r"torch\.save"):
        formats.read(tmp_path / "a.pkl")


def test_streams_need_no_suffix(tmp_path):
    stream = io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    (tmp_path / "no suffix").write_bytes(stream.getvalue())
    assert_reads(tmp_path / "no suffix", {"a": torch.ones(2)})
