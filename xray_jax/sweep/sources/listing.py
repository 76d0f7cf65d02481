"""What lies at an address: its checkpoints, with what tells each one's content from a later one."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event, Lock
from urllib.parse import quote

from xray_jax.sweep.sources.address import BUCKETS, HUB, Address, SourceError
from xray_jax.sweep.sources.grouping import Group, groups
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote, RemoteFile, Transport, check_name
from xray_jax.sweep.sources.transient import retrying

_AT_ONCE = 8


class Sources:
    """Every kind of source, each made ready at its first use. Safe under several threads."""

    def __init__(self, options: SourceOptions, stop: Event) -> None:
        """`stop`: set when the run is over; whoever waits then gives up."""
        self.options, self.stop = options, stop
        self._made: dict[str, Transport] = {}
        self._lock = Lock()

    def transport(self, scheme: str) -> Transport:
        """What reads addresses of this scheme.

        Raises:
          SourceError: its library is not installed.
        """
        with self._lock:
            if scheme not in self._made:
                self._made[scheme] = self._make(scheme)
            return self._made[scheme]

    def _make(self, scheme: str) -> Transport:
        # Imported late: their libraries are of an extra, and slow to import.
        if scheme == HUB:
            from xray_jax.sweep.sources.hub import Hub

            return Hub(self.options, self.stop)
        if scheme in BUCKETS:
            from xray_jax.sweep.sources.buckets import Bucket

            return Bucket(scheme, self.options)
        from xray_jax.sweep.sources.web import Web

        return Web(self.options)

    def find(self, address: Address) -> list[tuple[str, Remote]]:
        """The checkpoints at or below an address, each with a name that is unique among them.

        Of a whole owner on a hub, a repository that cannot be listed is one checkpoint with a `problem`.

        Raises:
          SourceError: the address cannot be listed.
        """
        if address.scheme != HUB or address.repository:
            return self._find(address)
        from xray_jax.sweep.sources.hub import Hub

        hub = self.transport(HUB)
        assert isinstance(hub, Hub)
        owned = [_repository(address, name) for name in hub.repositories(address)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(partial(_or_problem, self._find), owned))
        return [
            (each.name if name == each.name else f"{each.name}/{name}", remote)
            for each, listed in zip(owned, found, strict=True)
            for name, remote in listed
        ]

    def look(self, remote: Remote) -> Remote:
        """The one checkpoint at an address that nobody has looked at yet.

        Raises:
          SourceError: there is none, or several.
        """
        if remote.files or remote.problem is not None:
            return remote
        if remote.address.scheme == HUB and not remote.address.repository:
            raise SourceError(f"{remote.address.shown}: a line of a manifest is one checkpoint; write hf://owner/name")
        found = self._find(remote.address)
        if found and found[0][1].main and found[0][1].address == remote.address:
            # An object of this very name, whatever lies below it.
            return found[0][1]
        if len(found) != 1:
            names = ", ".join(name for name, _ in found[:5]) or "none"
            raise SourceError(
                f"{remote.address.shown}: expected one checkpoint, found {len(found)} ({names}): name one"
            )
        return found[0][1]

    def _find(self, address: Address) -> list[tuple[str, Remote]]:
        transport = self.transport(address.scheme)
        files, revision = retrying(lambda: transport.listing(address), self.options, self.stop)
        prefix = address.path.partition("/")[2] if address.scheme in BUCKETS else address.path
        found, below = [], []
        for file in files:
            if address.scheme not in (HUB, *BUCKETS) or file.name == prefix:
                # Named by the user: its content says what it is, whatever its name.
                name = check_name(file.name.rpartition("/")[2])
                found.append((name, _remote(address, Group(name, (replace(file, name=name),), name), revision)))
            else:
                below.append(replace(file, name=file.name.removeprefix(f"{prefix}/")) if prefix else file)
        for group in _checked_groups(below):
            found.append((group.name or address.name, _remote(_child(address, group.name), group, revision)))
        names = unique_names([name for name, _ in found])
        return [(name, remote) for name, (_, remote) in zip(names, found, strict=True)]


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind one that came before: of objects `x.pt` and `x.pt/config.json`, say."""
    taken, counts, found = set(names), Counter[str](), []
    for name in names:
        unique = name
        if counts[name]:
            while (unique := f"{name} ({counts[name] + 1})") in taken:
                counts[name] += 1
        counts[name] += 1
        taken.add(unique)
        found.append(unique)
    return found


def _checked_groups(files: Sequence[RemoteFile]) -> list[Group]:
    """The checkpoints among files; a name that leads elsewhere is one with a problem."""
    sound, found = [], []
    for file in files:
        try:
            check_name(file.name)
        except SourceError as error:
            # Halves of characters (surrogates) cannot be written.
            name = file.name[:200].encode(errors="backslashreplace").decode()
            found.append(Group(name, (file,), problem=str(error)))
        else:
            sound.append(file)
    return found + groups(sound)


def _or_problem(action: Callable[[Address], list[tuple[str, Remote]]], address: Address) -> list[tuple[str, Remote]]:
    try:
        return action(address)
    except SourceError as error:
        return [(address.name, Remote(address, problem=str(error).removeprefix(f"{address.shown}: ")))]


def _remote(address: Address, group: Group, revision: str | None) -> Remote:
    return Remote(address, revision or _tags(group.files), group.files, group.main, group.problem)


def _tags(files: Sequence[RemoteFile]) -> str | None:
    """One revision of several: a hash of theirs."""
    if any(file.tag is None for file in files):
        return None
    if len(files) == 1:
        return files[0].tag
    named = "\n".join(f"{file.name}\t{file.tag}" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(named.encode()).hexdigest()


def _child(address: Address, name: str) -> Address:
    if not name:
        return address
    return replace(
        address, shown=f"{address.shown.rstrip('/')}/{name}", full=f"{address.full.rstrip('/')}/{quote(name)}",
        path=f"{address.path}/{name}".lstrip("/"),
    )  # fmt: skip


def _repository(owner: Address, name: str) -> Address:
    return replace(owner, shown=f"hf://{name}", full=f"hf://{name}", repository=name)
