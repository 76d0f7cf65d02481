import json
from pathlib import Path

import pytest

from xray_jax.sweep.checkpoint_list import ManifestError, collect


def folder_is_checkpoint(path: Path) -> bool:
    return (path / "_METADATA").is_file()


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    (tmp_path / "b.pt").write_bytes(b"b")
    (tmp_path / ".hidden").write_bytes(b"h")
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "ü.npz").write_bytes(b"u")
    (tmp_path / "orbax").mkdir()
    (tmp_path / "orbax" / "_METADATA").write_bytes(b"{}")
    (tmp_path / "loop").symlink_to(tmp_path)
    return tmp_path


def test_folder_glob_and_single_file(zoo: Path) -> None:
    assert [entry.id for entry in collect(str(zoo), folder_is_checkpoint)] == ["b.pt", "orbax", "sub dir/ü.npz"]
    assert [entry.id for entry in collect(str(zoo / "*.pt"), folder_is_checkpoint)] == ["b.pt"]
    assert [entry.id for entry in collect(str(zoo / "**" / "*.npz"), folder_is_checkpoint)] == ["ü.npz"]
    (alone,) = collect(str(zoo / "orbax"), folder_is_checkpoint)
    assert (alone.id, alone.path, alone.listed) == ("orbax", zoo / "orbax", True)
    assert collect(str(zoo / "*.nothing"), folder_is_checkpoint) == []
    with pytest.raises(ManifestError, match="no such file, folder or glob match"):
        collect(str(zoo / "missing.pt"), folder_is_checkpoint)


def test_the_home_of_nobody_is_no_place() -> None:
    with pytest.raises(ManifestError, match=r"--checkpoints=~nobody-here/x: .*; write the folder out"):
        collect("~nobody-here/x")


def test_manifest_lines(zoo: Path) -> None:
    path = zoo / "zoo.jsonl"
    lines = [
        {"path": "b.pt", "label": "clean", "num_classes": 10, "epochs": 8},
        {"path": str(zoo / "orbax"), "id": "second", "preprocess": {"mean": 0.5}, "target": 3},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    first, second = collect(str(path), folder_is_checkpoint)
    assert (first.id, first.path, first.label, first.num_classes) == ("b.pt", zoo / "b.pt", "clean", 10)
    assert first.extra == {"epochs": 8}
    assert (second.id, second.path, second.preprocess, second.target) == ("second", zoo / "orbax", {"mean": 0.5}, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no valid JSON"),
        ("[]", "line 2: expected an object with a `path`"),
        ('{"path": 3}', "line 2: expected an object with a `path`"),
        ('{"path": "a", "num_classes": "ten"}', "line 2: `num_classes` must be int"),
        ('{"path": "a", "preprocess": ["cifar10"]}', "line 2: `preprocess` must be a name or an object"),
        ('{"path": "a", "preprocess": {"mean": [NaN], "std": [1]}}', "line 2: .*must be finite, got NaN"),
        ('{"path": "a", "epochs": -Infinity}', "line 2: .*must be finite, got -Infinity"),
        ('{"path": "a", "epochs": 1e999}', "line 2: .*must be finite, got 1e999"),
        ('{"path": "a", "label": ["clean"]}', "line 2: `label` must be a word .* or a number, got .'clean'."),
        ('{"path": "b.pt"}', "two entries have the id 'b.pt'"),
    ],
)
def test_bad_manifests_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "zoo.jsonl"
    path.write_text('{"path": "b.pt"}\n' + line)
    with pytest.raises(ManifestError, match=message):
        collect(str(path), folder_is_checkpoint)


def test_separators_of_lines_that_json_allows_in_texts_separate_none(tmp_path: Path) -> None:
    path = tmp_path / "zoo.jsonl"
    names = ["a\u2028b.pt", "c\u0085d.pt", "e.pt"]
    lines = [json.dumps({"path": name}, ensure_ascii=False) for name in names]
    path.write_text("\r\n".join(lines), encoding="utf-8", newline="")
    assert [entry.id for entry in collect(str(path), folder_is_checkpoint)] == names
