"""Help and usage errors of every command, parsed in this process."""

import importlib
import re
import sys
from types import ModuleType

import pytest
from absl import app, flags

import xray_jax.scripts
from xray_jax.scripts import command, command_help

COMMANDS = {
    "scan": "xray-scan", "calibrate": "xray-calibrate", "merge": "xray-merge", "convert": "xray-convert",
    "benchmark": "xray-bench", "reproduce": "xray-reproduce", "demo": "xray-demo", "train": "xray-train",
    "confirm": "xray-confirm", "report": "xray-report", "train_mntd": "xray-train-mntd",
}  # fmt: skip
KEPT = ("xray_jax.scripts.command", "xray_jax.scripts.command_help")


def forget() -> None:
    """Undoes the import of a command: several define flags of one name, and a process runs only one."""
    for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
        if module.startswith("xray_jax.scripts."):
            for flag in list(defined):
                delattr(flags.FLAGS, flag.name)
    for name in [name for name in sys.modules if name.startswith("xray_jax.scripts.") and name not in KEPT]:
        del sys.modules[name]
        # `from package import module` takes what the package holds before it imports anew.
        vars(xray_jax.scripts).pop(name.rpartition(".")[2], None)


@pytest.fixture
def load(monkeypatch):
    """Imports a command as its entry point does, and says what it is."""
    app.define_help_flags()
    monkeypatch.setattr(command_help, "_headings", {})

    def load(module: str) -> tuple[ModuleType, command_help.Command]:
        forget()
        monkeypatch.setattr(sys, "argv", [f"/usr/bin/{COMMANDS[module]}"])
        loaded = importlib.import_module(f"xray_jax.scripts.{module}")
        return loaded, command_help.of(loaded.main)

    forget()
    yield load
    flags.FLAGS.unparse_flags()
    forget()


@pytest.fixture
def refuse(load, capsys):
    """What a command prints of arguments that it cannot use."""

    def refuse(module: str, *arguments: str) -> str:
        _, made = load(module)
        with pytest.raises(SystemExit) as left:
            command.parse(made, [sys.argv[0], *arguments])
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (command.EXIT_USAGE, "")
        assert err.endswith("\nPass --help for the flags.\n")
        return err

    return refuse


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_each_flag_of_the_command_once(load, capsys, module, option):
    loaded, made = load(module)
    with pytest.raises(SystemExit) as left:
        command.parse(made, [sys.argv[0], "--planes=nonsense", option])
    out, err = capsys.readouterr()
    assert (left.value.code, err) == (0, "")
    listed = re.findall(r"^  --(?:\[no\])?(\w+)", out, re.MULTILINE)
    defined = [
        flag.name
        for name, flags_of in flags.FLAGS.flags_by_module_dict().items()
        if name.startswith("xray_jax.scripts.")
        for flag in flags_of
    ]
    assert sorted(listed) == sorted(defined)
    assert len(listed) == len(set(listed)) > 0
    assert "verbosity" not in listed
    assert out.splitlines()[0] in loaded.__doc__
    for line in re.findall(rf"^  {made.name} .*", loaded.__doc__, re.MULTILINE):
        assert line in out


@pytest.mark.parametrize("module", COMMANDS)
def test_every_required_flag_has_an_example(load, module):
    _, made = load(module)
    assert all("..." not in made.example(flag) for flag in made.required)


def test_flags_stand_under_plain_headings(load):
    _, made = load("scan")
    sections = re.findall(r"^([A-Z][\w ]+):\n((?:  .*\n)+)", made.help(100), re.MULTILINE)
    where = {flag: heading for heading, lines in sections for flag in re.findall(r"^  --(?:\[no\])?(\w+)", lines, re.M)}
    assert where["checkpoints"] == where["samples"] == "What to scan"
    assert where["probe_queries"] == where["probe_null"] == "Probe"
    assert where["detectors"] == where["access"] == "Detectors"
    assert (where["density"], where["out"], where["decide"]) == ("Planes", "Output", "Verdict")
    assert (where["spread"], where["num_shards"]) == ("Speed", "Many machines")
    assert command_help.UNGROUPED not in where.values()


def test_a_flag_is_shown_with_its_kind_and_default(load):
    text = load("scan")[1].help(100)
    assert "  --checkpoints=TEXT (required)\n      Folder, glob" in text
    assert "  --density=INTEGER (default: 100)\n      Grid nodes per axis (S).\n" in text
    assert "  --expansion=NUMBER (default: 5)\n" in text
    assert "  --decide=either|both|re|ats (default: either)\n      Which statistic" in text
    assert "  --[no]fast_convolutions (default: on)\n" in text
    text = load("merge")[1].help(100)
    assert "  --rows=TEXT (required; may be repeated)\n      Row files: a path or a glob.\n" in text
    text = load("train")[1].help(100)
    assert "  --rate=NUMBER (at least 0; at most 1; default: 0.1)\n" in text
    assert "--attacks=TEXT,TEXT,... (default: clean)\n" in text
    assert re.search(r"--architecture=NAME\n      Network; by default .*\. One of: [\w, \n-]*resnet18,", text)


@pytest.mark.parametrize("width", [1, 40, 60, 140])
def test_help_is_as_wide_as_the_terminal(load, width):
    _, made = load("scan")
    words = [line for line in made.help(width).splitlines() if " " in line.strip() and "xray-scan" not in line]
    assert max(map(len, words)) <= max(width, command_help.NARROWEST)


def test_a_stray_argument_is_put_where_it_belongs(refuse):
    said = refuse("scan", "model.pth")
    assert "\n  xray-scan --checkpoints=model.pth --samples=cifar10.npz\n" in said
    assert "\n--samples: Clean labelled images" in said


def test_several_stray_arguments_and_the_flags_given(refuse):
    said = refuse("scan", "a b.pth", "--nofast_convolutions", "c.pth", "--samples", "my samples.npz", "d", "e", "f")
    assert "\n  xray-scan --checkpoints='a b.pth' --samples='my samples.npz' --nofast_convolutions\n" in said
    assert said.count("  xray-scan --checkpoints=") == 3
    assert "the other 2\n" in said


def test_stray_arguments_of_a_flag_that_takes_several(refuse):
    said = refuse("merge", "1.jsonl", "2.jsonl", "--out=a", "--allow_missing")
    assert "\n  xray-merge --rows=1.jsonl --rows=2.jsonl --out=a --allow_missing\n" in said


def test_stray_arguments_when_nothing_is_missing(refuse):
    said = refuse("scan", "--checkpoints=zoo", "stray", "--samples=s.npz")
    assert said.splitlines()[0] == "xray-scan: unexpected arguments ['stray']; all inputs are flags"


def test_each_missing_flag_has_a_line_with_an_example(refuse):
    first, second, _ = refuse("scan", "--out=rows.jsonl").splitlines()
    assert first.startswith("xray-scan: --checkpoints is required: ")
    assert first.endswith("; for example --checkpoints=model.pth")
    assert second.startswith("xray-scan: --samples is required: ")
    assert second.endswith("; for example --samples=cifar10.npz")
    assert len(refuse("scan", "--samples=cifar10").splitlines()) == 2
    assert "for example --rows='out/rows-*-of-00064.jsonl'" in refuse("merge", "--out=rows.jsonl")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--chekpoints=zoo", "unknown flag --chekpoints; did you mean --checkpoints?"),
        ("--nofast_convolution", "unknown flag --nofast_convolution; did you mean --nofast_convolutions?"),
        ("--zzz", "unknown flag --zzz"),
        ("--density=many", "flag --density=many"),
        ("--ats=perhaps", "value should be one of <component|label>"),
        ("--nofast_convolutions=1", "--nofast_convolutions=1 does not take an argument"),
        ("--planes=-1", "flag --planes=-1: must be a whole number"),
        ("--planes=auto", "flag --planes=auto: must be a whole number"),
        ("--sampling=cascade", "flag --sampling=cascade: value should be one of <grid|refine|sketch>"),
        ("--max_queries=9000", "unknown flag --max_queries"),
        ("--flagfile=gone", "gone"),
    ],
)
def test_what_cannot_be_used_is_named(refuse, argument, message):
    said = refuse("scan", "--checkpoints=zoo", "--samples=cifar10", argument)
    assert said.startswith("xray-scan: ")
    assert message in said.splitlines()[0]


def test_flags_are_set_and_still_checked_afterwards(load):
    loaded, made = load("scan")
    command.parse(made, [sys.argv[0], "--samples=cifar10", "--checkpoints", "zoo", "--nospread", "--planes=9"])
    assert (loaded.CHECKPOINTS.value, loaded.SAMPLES.value, loaded.OUT.value) == ("zoo", "cifar10", None)
    assert loaded.planes_flags.options().planes == 9
    with pytest.raises(flags.IllegalFlagValueError):
        flags.FLAGS.planes = "few"
