import collections
import itertools
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.shards import Shard, ShardError, ask_jax, resolve


def entries(count: int, architectures: int = 3) -> list[Entry]:
    names = [None, *(f"net{i}" for i in range(architectures - 1))]
    return [Entry(f"folder/{i}.pt", Path(f"{i}.pt"), names[i % architectures]) for i in range(count)]


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(2, 9), st.integers(1, 4), st.integers(0, 5))
def test_shards_are_disjoint_complete_and_blind_to_order(total: int, count: int, architectures: int, seed: int) -> None:
    listed = entries(total, architectures)
    shuffled = random.Random(seed).sample(listed, total)
    parts = [Shard(index, count).of(listed) for index in range(count)]
    assert sorted(entry.id for part in parts for entry in part) == sorted(entry.id for entry in listed)
    assert parts == [Shard(index, count).of(shuffled) for index in range(count)]
    for part in parts:
        changes = sum(a.architecture != b.architecture for a, b in itertools.pairwise(part))
        assert changes <= architectures - 1


@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 40))
def test_a_checkpoint_keeps_its_shard_whatever_else_is_listed(total: int, count: int, gone: int) -> None:
    """Hosts list at different moments: of what all of them saw nothing is lost and nothing is scanned twice."""
    listed = entries(total)
    before = [Entry("new/0.pt", Path("0.pt")), *listed[: gone % total]]
    for index in range(count):
        later = [entry for entry in Shard(index, count).of(listed) if entry in before]
        assert later == [entry for entry in Shard(index, count).of(before) if entry in listed]


def test_shards_are_even_as_far_as_chance_goes() -> None:
    """Within four standard deviations, of all and of each architecture."""
    listed, count = entries(2000), 8
    parts = [Shard(index, count).of(listed) for index in range(count)]
    for chosen in [{None, "net0", "net1"}, {None}, {"net0"}, {"net1"}]:
        total = sum(entry.architecture in chosen for entry in listed)
        for part in parts:
            share = sum(entry.architecture in chosen for entry in part)
            assert abs(share - total / count) < 4 * (total / count) ** 0.5


def test_any_text_is_an_id() -> None:
    """JSON may hold halves of characters, and a file's name bytes that are no text."""
    odd = [Entry(name, Path("a")) for name in ("\ud800", "\udcff", "\udfff.pt")]
    parts = [Shard(index, 2).of(odd) for index in range(2)]
    assert sorted(entry.id for part in parts for entry in part) == sorted(entry.id for entry in odd)


def test_split_never_changes() -> None:
    """Recorded: a new split would scan checkpoints again that other hosts have done."""
    part = Shard(1, 4).of(entries(16, 1))
    assert [entry.id for entry in part] == ["folder/7.pt", "folder/12.pt"]


def test_neighbours_are_spread() -> None:
    part = Shard(0, 2).of(entries(100, 1))
    halves = collections.Counter(int(entry.id.removeprefix("folder/").removesuffix(".pt")) < 50 for entry in part)
    assert min(halves.values()) > 10


def test_one_shard_keeps_the_order_and_the_file() -> None:
    listed = entries(5)
    assert Shard().of(listed) == listed
    assert Shard().file("out/rows.jsonl") == Path("out/rows.jsonl")
    assert Shard(3, 64).file("out/rows.jsonl") == Path("out/rows-00003-of-00064.jsonl")


@pytest.mark.parametrize(
    ("environment", "flags", "expected"),
    [
        ({}, {}, Shard()),
        ({}, {"index": 2, "count": 5}, Shard(2, 5)),
        ({}, {"count": 1}, Shard()),
        (
            {
                "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "7",
                "SLURM_ARRAY_TASK_COUNT": "8",
            },
            {},
            Shard(2, 8),
        ),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3"}, {"count": 8}, Shard(3, 8)),
        ({"JOB_COMPLETION_INDEX": "4"}, {"count": 6}, Shard(4, 6)),
        ({"JOB_COMPLETION_INDEX": "4"}, {"index": 0, "count": 2}, Shard(0, 2)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, {"distributed": True}, Shard(1, 2)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, {}, Shard()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, {"distributed": True, "count": 3}, Shard(0, 3)),
        ({"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "a,b,c"}, {"distributed": True}, Shard(1, 3)),
    ],
)  # fmt: skip
def test_resolve(environment: dict, flags: dict, expected: Shard) -> None:
    assert resolve(**flags, environment=environment) == expected


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        ({}, {"index": 0}, "needs --num_shards"),
        ({}, {"count": 4}, "needs --shard_index"),
        ({}, {"index": 4, "count": 4}, r"0 \.\. 3"),
        ({}, {"index": 0, "count": 0}, "at least 1"),
        ({"JOB_COMPLETION_INDEX": "4"}, {}, "completions"),
        ({"JOB_COMPLETION_INDEX": "x"}, {"count": 2}, "whole number, got 'x'"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, {"distributed": True, "count": 3}, "2 processes"),
        # One task of an array run again: it must not take itself for the whole sweep.
        (
            {
                "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "3",
                "SLURM_ARRAY_TASK_COUNT": "1",
            },
            {},
            "single tasks",
        ),
    ],
)  # fmt: skip
def test_resolve_refuses(environment: dict, flags: dict, message: str) -> None:
    with pytest.raises(ShardError, match=message):
        resolve(**flags, environment=environment)


def test_two_processes_find_their_places_and_neither_needs_the_other_afterwards() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    script = (
        f"import sys; from xray_jax.sweep.shards import ask_jax; print(ask_jax(['{address}', 2, int(sys.argv[1])]))"
    )
    other = subprocess.Popen([sys.executable, "-c", script, "1"], stdout=subprocess.PIPE, text=True)
    assert ask_jax([address, 2, 0]) == Shard(0, 2)
    output, _ = other.communicate(timeout=60)
    assert "Shard(index=1, count=2)" in output


def test_a_process_that_never_starts_is_an_error_not_a_crash() -> None:
    with pytest.raises(ShardError, match="--shard_index and --num_shards"):
        ask_jax(["127.0.0.1:1", 2, 1], timeout=1)
