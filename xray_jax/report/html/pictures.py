"""Pictures of a report: those of a scan as small WebP files, and label maps drawn from the files that keep them."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.report.palette import label_colours
from xray_jax.rows.names import file_name

FOLDER = "pictures"
_LARGEST_FILE, _MOST_PIXELS, _MOST_MAP_BYTES = 50_000_000, 40_000_000, 200_000_000
_QUALITY, _METHOD, _WIDEST = 80, 2, 1400
_MAP, _GAP, _COLUMNS, _MOST_MAPS = 160, 8, 5, 20
_KINDS = {
    "trigger": "Clean images, what the trigger changes, changed images, and the labels before and after",
    "planes": "Labels of the mixtures of three clean images, a square for each three; circles are the clean images",
    "labels": "Share of those mixtures that each label owns; the likely target is marked",
}


@dataclass(frozen=True)
class Picture:
    """One picture of a model.

    Attributes:
      kind: "trigger", "planes" or "labels".
      file: its name in the report's folder of pictures.
      alt: what is on it.
      width, height: in pixels.
    """

    kind: str
    file: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class PictureSource:
    """Where pictures come from.

    Attributes:
      plots: folder of `--plots`; None has no pictures.
      maps: folder of `--save_maps`; None has no maps.
    """

    plots: Path | None = None
    maps: Path | None = None

    def take(self, checkpoint_id: str, page: str, out: Path) -> dict[str, Picture]:
        """Writes what there is of a checkpoint to `out`; what cannot be read is left out.

        Args:
          checkpoint_id: names the files that are looked for.
          page: what the new files are called.
          out: folder that exists.
        """
        try:
            name = file_name(checkpoint_id)
        except UnicodeEncodeError:
            # A name that no file can have.
            return {}
        return {picture.kind: picture for picture in self._take(name, page, out)}

    def _take(self, name: str, page: str, out: Path) -> Iterator[Picture]:
        for kind, alt in _KINDS.items():
            file = f"{page}.{kind}.webp"
            drawn = None
            if self.plots is not None:
                drawn = _read(self.plots / f"{name}.{kind}.png")
            if drawn is None and kind == "planes" and self.maps is not None:
                drawn = _drawn_maps(self.maps / f"{name}.npz")
            if drawn is not None:
                drawn.thumbnail((_WIDEST, 10 * _WIDEST))
                drawn.save(out / file, "WEBP", quality=_QUALITY, method=_METHOD)
                yield Picture(kind, file, alt, *drawn.size)


def _read(path: Path) -> Image.Image | None:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _drawn_maps(path: Path) -> Image.Image | None:
    """Label maps side by side, a colour a label, the clean images as circles."""
    try:
        if not path.is_file():
            return None
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_MAP_BYTES:
                return None
        maps = LabelMaps.load(path)
        return _montage(maps)
    except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile):
        return None


def _montage(maps: LabelMaps) -> Image.Image:
    count = min(len(maps.labels), _MOST_MAPS)
    present = np.unique(maps.labels[:count])
    colours = label_colours([int(label) for label in present])
    palette = np.array([[int(colours[int(label)][k : k + 2], 16) for k in (1, 3, 5)] for label in present], np.uint8)
    rows, step = -(-count // _COLUMNS), _MAP + _GAP
    sheet = Image.new("RGB", (step * min(count, _COLUMNS) + _GAP, step * rows + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number in range(count):
        left, top = _GAP + step * (number % _COLUMNS), _GAP + step * (number // _COLUMNS)
        # The map's row runs along e1, drawn to the right; e2 runs upwards.
        pixels = palette[np.searchsorted(present, maps.labels[number])].swapaxes(0, 1)[::-1]
        square = Image.fromarray(np.ascontiguousarray(pixels)).resize((_MAP, _MAP), Image.Resampling.NEAREST)
        sheet.paste(square, (left, top))
        scale = _MAP / maps.labels.shape[1]
        for row, column in maps.sample_nodes[number]:
            x, y = left + (row + 0.5) * scale, top + _MAP - (column + 0.5) * scale
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="white", outline="black")
    return sheet
