import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.report import palette, plane_figures


def some_maps(count=7, density=9, classes=30):
    generator = np.random.default_rng(0)
    axes = np.linspace(-1, 1, density)[None] * np.arange(1, count + 1)[:, None]
    return LabelMaps(
        generator.integers(0, classes, (count, density, density)), np.zeros((count, 3), int),
        generator.integers(0, density, (count, 3, 2)), generator.integers(0, classes, (count, 3)), axes, axes,
    )  # fmt: skip


def test_label_maps_show_every_plane_sample_and_label(tmp_path):
    maps = some_maps()
    figure = plane_figures.label_maps_figure(maps, "title", names=[f"class {i}" for i in range(30)])
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == 7
    assert all(len(axis.lines) == 3 and len(axis.texts) == 3 for axis in shown)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(texts) == 21
    assert texts[-1] == "and 10 more"
    assert texts[0].startswith(f"class {np.bincount(maps.labels.ravel()).argmax()} ")
    plane_figures.save(figure, tmp_path / "new" / "maps.png")
    with Image.open(tmp_path / "new" / "maps.png") as picture:
        assert picture.size[0] > 500


def test_a_node_is_painted_with_its_label_where_its_coordinates_say():
    maps = some_maps(count=1, density=5, classes=3)
    maps.labels[:] = 0
    maps.labels[0, 4, 0] = 2  # far along e1, low along e2: bottom right
    figure = plane_figures.label_maps_figure(maps, "")
    plane_figures.FigureCanvasAgg(figure).draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    x, y = figure.axes[0].transData.transform((maps.axis1[0, 4], maps.axis2[0, 0]))
    colour = palette.label_colours([2])[2]
    assert to_hex(pixels[len(pixels) - 1 - int(y), int(x), :3] / 255) == colour


def test_distribution_marks_the_target():
    figure = plane_figures.distribution_figure([0.1, 0.7, 0.2], 1, "title")
    assert figure.axes[0].texts[0].get_text() == "target 1"
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.1, 0.7, 0.2]


def test_colours_are_the_same_in_every_picture_and_differ():
    many = palette.label_colours(range(43))
    assert len(set(many.values())) == 43
    assert palette.label_colours([41])[41] == many[41]
