"""A hub that speaks the hub's API, through its own library and `HF_ENDPOINT`."""

import dataclasses
import json
from collections.abc import Iterator, Mapping

import pytest

from tests.sweep.sources import fetches
from tests.sweep.sources.fetches import IMPATIENT
from tests.sweep.sources.servers import COMMIT, HubServer, Served, Server, serve
from xray_jax.sweep.checkpoint_list import ManifestError, collect
from xray_jax.sweep.sources import hub as hubs
from xray_jax.sweep.sources.address import SourceError

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")

WEIGHTS = b"weights" * 1000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    models = {
        "owner/one": {
            "config.json": Served(b"{}"),
            "model.safetensors": Served(WEIGHTS),
            "pytorch_model.bin": Served(b"the same"),
            "README.md": Served(b"text"),
        },
        "owner/two": {"a.pth": Served(b"a"), "nested/b.onnx": Served(b"b")},
        "other/three": {"c.pth": Served(b"c")},
    }
    with serve(HubServer(models)) as server:
        assert isinstance(server, HubServer)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


def test_a_model_is_its_checkpoints_at_one_commit(hub: HubServer) -> None:
    found = fetches.listed("hf://owner/two@main")
    assert list(found) == ["a.pth", "nested/b.onnx"]
    assert {each.revision for each in found.values()} == {COMMIT}
    assert [each.address.shown for each in found.values()] == ["hf://owner/two/a.pth", "hf://owner/two/nested/b.onnx"]
    assert list(fetches.listed("hf://owner/two/nested")) == ["b.onnx"]
    assert list(fetches.listed("hf://owner/two/nested/b.onnx")) == ["b.onnx"]


def test_an_owner_is_all_his_models(hub: HubServer) -> None:
    assert list(fetches.listed("hf://owner")) == ["one", "two/a.pth", "two/nested/b.onnx"]


def test_of_the_same_weights_safetensors_are_fetched(hub: HubServer) -> None:
    with fetches.fetcher() as made:
        copy = fetches.fetch(made, fetches.remote("hf://owner/one"))
        assert sorted(file.name for file in copy.path.iterdir()) == ["config.json", "model.safetensors"]
        assert (copy.path / "model.safetensors").read_bytes() == WEIGHTS
        copy.release()
        assert not copy.path.exists()
    assert not [path for path in hub.bodies() if path.endswith((".bin", ".md"))]


def test_a_gated_model_says_what_to_set_and_stops_no_other(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("owner/one")
    found = fetches.listed("hf://owner")
    assert "set HF_TOKEN" in str(found["one"].problem)
    assert found["two/a.pth"].problem is None
    monkeypatch.setenv("HF_TOKEN", HubServer.TOKEN)
    assert fetches.listed("hf://owner")["one"].problem is None
    with fetches.fetcher() as made:
        fetches.fetch(made, fetches.remote("hf://owner/one"))


def test_the_token_does_not_follow_to_another_server(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", HubServer.TOKEN)
    with serve(Server({"/blob": Served(b"a")})) as storage:
        path = f"/owner/two/resolve/{COMMIT}/a.pth"
        hub.models["owner/two"]["a.pth"].answers.append((307, {"Location": f"{storage.url}/blob"}))
        assert fetches.content("hf://owner/two/a.pth") == b"a"
    assert {asked.authorization for asked in hub.log if asked.path == path} == {f"Bearer {HubServer.TOKEN}"}
    assert [asked.authorization for asked in storage.log] == [None]


def test_a_name_that_is_no_text_is_a_problem_of_its_own(hub: HubServer) -> None:
    hub.models["owner/one"] = {"a\ud800.pth": Served(b"a"), "b.pth": Served(b"b")}
    found = fetches.listed("hf://owner")
    assert {name: each.problem is None for name, each in found.items()} == {
        "one/a\\ud800.pth": False, "one/b.pth": True, "two/a.pth": True, "two/nested/b.onnx": True
    }  # fmt: skip
    assert "refused" in str(found["one/a\\ud800.pth"].problem)
    assert fetches.content("hf://owner/one/b.pth") == b"b"


class Endless(HubServer):
    """Pages of an owner's models without end; `each` models a page."""

    each = 10

    def pages(self) -> int:
        return [asked.path for asked in self.log].count("/api/models")

    def find(self, path: str, query: Mapping[str, list[str]]) -> Served | None:
        if path != "/api/models":
            return super().find(path, query)
        models = [{"id": f"owner/{self.pages()}-{number}"} for number in range(self.each)]
        link = f'<{self.url}/api/models?author=owner&cursor={self.pages()}>; rel="next"'
        # A hundred pages at most, so that a test that fails ends too.
        headers = {"Link": link} if self.pages() < 100 else {}
        return Served(json.dumps(models).encode(), None, False, headers=headers)


def test_a_listing_of_models_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MOST_MODELS", 30)
    with serve(Endless({})) as server:
        assert isinstance(server, Endless)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(SourceError, match="hf://owner: the hub lists more than 30 models"):
            fetches.listed("hf://owner")
        assert server.pages() == 4


def test_a_listing_of_empty_pages_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MOST_ANSWERS", 7)
    monkeypatch.setattr(Endless, "each", 0)
    hooks = huggingface_hub.utils.get_session().event_hooks
    with serve(Endless({})) as server:
        assert isinstance(server, Endless)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(SourceError, match="hf://owner: the hub's list has no end"):
            fetches.listed("hf://owner")
        assert server.pages() == 8
    assert huggingface_hub.utils.get_session().event_hooks == hooks


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("hf://owner/none", "no such model"),
        ("hf://owner/two@gone", "no revision 'gone'"),
        ("hf://owner/two/none.pth", "no such file"),
        ("hf://nobody", "no models"),
    ],
)
def test_what_is_not_there_is_said(address: str, what: str, hub: HubServer) -> None:
    with pytest.raises(SourceError, match=what):
        fetches.listed(address)
    with pytest.raises(ManifestError, match=what):
        collect(address)


def test_content_that_is_not_the_declared_one_is_refused(hub: HubServer) -> None:
    with fetches.fetcher() as made:
        looked = made.look(fetches.remote("hf://owner/two/a.pth"))
        hub.models["owner/two"]["a.pth"] = Served(b"b")
        with pytest.raises(SourceError, match="SHA-256"):
            made.fetch(looked, made.turns.take())


def test_a_busy_hub_is_asked_again(hub: HubServer) -> None:
    hub.models["owner/two"]["a.pth"].answers += [(429, {"Retry-After": "0"}), (503, {})]
    assert fetches.content("hf://owner/two/a.pth") == b"a"


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="no answer from the hub"):
        fetches.listed("hf://owner/two", dataclasses.replace(IMPATIENT, attempts=2))


def test_a_line_of_a_manifest_is_one_checkpoint(hub: HubServer) -> None:
    with fetches.fetcher() as made:
        with pytest.raises(SourceError, match=r"found 2 \(a.pth, nested/b.onnx\)"):
            made.look(fetches.remote("hf://owner/two"))
        with pytest.raises(SourceError, match="one checkpoint"):
            made.look(fetches.remote("hf://owner"))
