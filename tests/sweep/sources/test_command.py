"""Whole scans of the demo's networks, each from a server of its own: the rows of a scan of local files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import xray_jax
from tests import commands
from tests.sweep.scans import stable, whole
from tests.sweep.sources import buckets
from tests.sweep.sources.servers import COMMIT, HubServer, Served, Server, serve
from xray_jax.rows import file as row_file

DEMO = Path(xray_jax.__file__).parent / "demo"
NETS = ("clean-s100", "badnets-t0-s200")
SOURCE = ("source", "revision", "declared")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the demo's networks: an orbax folder, and a file."""
    from xray_jax.checkpoints.convert import convert

    folder = tmp_path_factory.mktemp("served") / "zoo"
    shutil.copytree(DEMO / f"zoo/cifar10-preactresnet-small-{NETS[0]}", folder / NETS[0])
    convert(DEMO / f"zoo/cifar10-preactresnet-small-{NETS[1]}", folder / f"{NETS[1]}.safetensors")
    return folder


def scan(checkpoints: Path | str, out: Path, *flags: str) -> list[Any]:
    options = "--detectors=planes --planes=1 --density=8 --nofast_convolutions --cache_limit=1 --max_download=0.5"
    line = f"xray-scan --checkpoints={checkpoints} --samples={DEMO / 'samples.npz'} --out={out} {options}"
    code, said = commands.run(f"{line} {' '.join(flags)}")
    assert code == 0, said
    return [whole(row) for row in row_file.read(out)]


def without_source(rows: list[Any]) -> list[Any]:
    return [{name: value for name, value in row.items() if name not in SOURCE} for row in stable(rows)]


def fetched(server: Server) -> list[str]:
    """Names of the hub's files that were asked for."""
    return [path.removeprefix("/cdn/owner/zoo/") for path in server.bodies() if path.startswith("/cdn")]


@pytest.fixture(scope="module")
def local(zoo: Path) -> list[Any]:
    rows = scan(zoo, zoo.parent / "local.jsonl")
    assert [row["source"] for row in rows] == [None, None]
    return without_source(rows)


def test_from_a_bucket(zoo: Path, local: list[Any], tmp_path: Path) -> None:
    with buckets.s3():
        buckets.upload(zoo, "zoo")
        buckets.put("zoo/readme.txt", b"not fetched")
        rows = scan(f"s3://{buckets.BUCKET}/zoo", tmp_path / "rows.jsonl")
    assert without_source(rows) == local
    assert [row["source"] for row in rows] == [f"s3://models/zoo/{row['id']}" for row in rows]
    assert all(row["revision"] for row in rows)


def test_from_a_hub_in_worker_processes(
    zoo: Path, local: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    model = {str(file.relative_to(zoo)): Served(file.read_bytes()) for file in zoo.rglob("*") if file.is_file()}
    with serve(HubServer({"owner/zoo": model})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        out = tmp_path / "rows.jsonl"
        rows = scan("hf://owner/zoo", out, "--isolate")
        assert without_source(rows) == local
        assert [(row["source"], row["revision"]) for row in rows] == [
            (f"hf://owner/zoo/{row['id']}", COMMIT) for row in rows
        ]
        # Cut off between the two: only what has no row is fetched.
        out.write_text(out.read_text().splitlines()[0] + "\n")
        del server.log[:]
        again = scan("hf://owner/zoo", out)
    assert without_source(again) == local
    asked = fetched(server)
    assert {path.split("/")[0] for path in asked} == {rows[1]["id"]}
    assert len(set(asked)) == len(asked)


def test_what_a_new_commit_of_a_hub_leaves_as_it_was_is_not_fetched(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    files = [file for file in (zoo / NETS[0]).rglob("*") if file.is_file()]
    model = {str(file.relative_to(zoo)): Served(file.read_bytes()) for file in files}
    out = tmp_path / "rows.jsonl"
    with serve(HubServer({"owner/zoo": model})) as server:
        assert isinstance(server, HubServer)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        (row,) = scan("hf://owner/zoo", out)
        assert fetched(server)
        # Another text beside the files.
        model["README.md"], server.commit = Served(b"text"), "1" * 40
        del server.log[:]
        assert scan("hf://owner/zoo", out) == [row]
        assert not fetched(server)
        # Another file of the checkpoint, which is not one of large files.
        name = next(name for name in model if name.endswith("_CHECKPOINT_METADATA"))
        model[name], server.commit = Served(model[name].content + b" "), "2" * 40
        again = scan("hf://owner/zoo", out)
    assert fetched(server)
    assert [each["revision"] for each in again] == [COMMIT, "2" * 40]
    assert again[0]["declared"] != again[1]["declared"]


def test_from_a_web_server_by_a_manifest(zoo: Path, local: list[Any], tmp_path: Path) -> None:
    name = f"{NETS[1]}.safetensors"
    cache = tmp_path / "cache"
    with serve(Server({f"/{name}": Served((zoo / name).read_bytes(), cuts=[100_000])})) as server:
        address = server.url.replace("://", "://user:password@") + f"/{name}?signature=secret"
        lines = [{"id": name, "path": address}, {"id": NETS[0], "path": str(zoo / NETS[0])}]
        manifest = tmp_path / "list.jsonl"
        manifest.write_text("\n".join(map(json.dumps, lines)))
        rows = scan(manifest, tmp_path / "rows.jsonl", f"--cache={cache}")
        other = scan(manifest, tmp_path / "other.jsonl", f"--cache={cache}")
    assert without_source(rows) == without_source(other) == local
    # Both began where the first connection ended, or in the cache.
    assert [asked.range for asked in server.log if asked.range != "bytes=0-0"] == [None, "bytes=100000-"]
    assert rows[0]["source"] == rows[0]["path"] == f"{server.url}/{name}"
    assert "secret" not in (tmp_path / "rows.jsonl").read_text()
    assert "password" not in (tmp_path / "rows.jsonl").read_text()
