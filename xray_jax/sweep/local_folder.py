"""The checkpoints of a folder on this machine, told apart as those of a source elsewhere are."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from xray_jax import checkpoints
from xray_jax.sweep.sources.grouping import above, groups
from xray_jax.sweep.sources.remote import RemoteFile


def listing(folder: Path, has_known_format: Callable[[Path], bool]) -> list[tuple[str, Path]]:
    """Name and path of each checkpoint in a folder, and of each other file; "" is the folder itself.

    Files under the names of orbax and Hugging Face are one checkpoint, by `sources.grouping`. What else lies in such a
    folder counts where it is a checkpoint by name or content, so that nothing hides behind it. A folder of another
    format (that another package reads, or that is refused) is one checkpoint with all that lies in it.

    Args:
      folder: searched in depth; hidden files are left out, and of links to folders those that are no checkpoint.
      has_known_format: see `checkpoints.has_known_format`.

    Raises:
      OSError: a folder cannot be read.
    """
    there = {path.relative_to(folder).as_posix(): path for path in _walk(folder, has_known_format)}
    files = {name: path for name, path in there.items() if not path.is_dir()}
    grouped = [
        group
        for group in groups(RemoteFile(name, name) for name, path in files.items() if path.is_file())
        # Files that no reader puts together are told one by one what is wrong with them.
        if group.problem is None and (group.main or has_known_format(folder / group.name))
    ]
    ours = {group.name for group in grouped if not group.main}
    holding = {outer for name in ours for outer in (name, *above(name))}
    others = {name.removeprefix(".") for name in there.keys() - files.keys()} - holding
    taken = {file.key for group in grouped for file in (*group.files, *group.copies)}

    found = [(name, folder / name) for name in ours | others]
    for group in grouped:
        for file in group.files:
            if file.name == group.main and others.isdisjoint(above(file.key)):
                found.append((group.name, files[file.key]))
    for name, path in files.items():
        if name in taken or not others.isdisjoint(above(name)):
            continue
        by_name = PurePosixPath(name).suffix.lower() in checkpoints.SUFFIXES
        if by_name or ours.isdisjoint(above(name)) or has_known_format(path):
            found.append((name, path))
    return sorted(found)


def _walk(folder: Path, has_known_format: Callable[[Path], bool]) -> Iterator[Path]:
    """All files, and of the folders that are checkpoints the outermost."""
    # No recursion: folders may lie in each other a thousand deep.
    left = [(folder, False)]
    while left:
        outer, inside = left.pop()
        if not inside and has_known_format(outer):
            inside = True
            yield outer
        for entry in outer.iterdir():
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield entry
            elif not entry.is_symlink():
                left.append((entry, inside))
            # It could lead in a circle, or out of what the user asked to scan.
            elif not inside and has_known_format(entry):
                yield entry


def unsearched(folder: Path, has_known_format: Callable[[Path], bool]) -> list[Path]:
    """Links to folders, which a listing does not search, and which are no checkpoint themselves."""
    found, left = [], [folder]
    while left:
        for entry in left.pop().iterdir():
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            if not entry.is_symlink():
                left.append(entry)
            elif not has_known_format(entry):
                found.append(entry)
    return sorted(found)
