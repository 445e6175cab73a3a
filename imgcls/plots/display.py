"""Show a figure in a notebook, light and dark, with its text alternative; save one for the repository."""

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from IPython import get_ipython
from IPython.display import publish_display_data
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from imgcls.plots.theme import DARK, HEAT, HEAT_DARK, LIGHT, themed

DARK_MIME = "application/vnd.imgcls.dark+png"
CSS_DPI = 100  # CSS px that a report gives one inch of figure
DENSITY = 1.6  # device px per CSS px: sharp text on dense screens at two thirds of the bytes of 2
COLOURS = 255  # of the palette; one more index stays free for transparency
CHANNELS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def show(drawing: Figure | Axes, alt: str, caption: str = "") -> None:
    """Display a figure in the notebook as one bundle: light PNG, dark twin, text alternative; then close it.

    Grids of pictures are drawn without a background and with captions on plates of their own, sit on light and dark
    pages alike, and so come in one version. Outside a notebook the text alternative is printed.

    Args:
        drawing: a figure, or any axes of it.
        alt: what a reader who cannot see the figure should know, in a sentence or two.
        caption: a line for everyone, shown under the figure.

    Raises:
        ValueError: without a text alternative.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f"show: alt is {alt!r}; say in a sentence what the figure shows, for readers who cannot see it"
        )
    figure = _figure(drawing)
    light = render(figure)
    data = {"image/png": base64.b64encode(light).decode(), "text/plain": alt}
    if _has_background(figure):
        with dark_twin(figure):
            data[DARK_MIME] = base64.b64encode(render(figure)).decode()
    width = round(figure.get_figwidth() * CSS_DPI)
    plt.close(figure)
    if get_ipython() is None:
        print(alt)
    else:
        publish_display_data(data, {"image/png": {"alt": alt, "caption": caption, "width": width}})


def save(drawing: Figure | Axes, path: str | Path, dark: bool = False) -> Path:
    """Write a figure as PNG without any metadata, so that the same figure gives the same bytes; returns the path."""
    figure, path = _figure(drawing), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with dark_twin(figure) if dark and _has_background(figure) else contextlib.nullcontext():
        path.write_bytes(render(figure))
    return path


@themed
def render(figure: Figure) -> bytes:
    """PNG of a figure with at most 256 colours and no metadata; alpha becomes on or off."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=CSS_DPI * DENSITY, pil_kwargs={"compress_level": 0})
    picture = Image.open(raw).convert("RGBA")
    clear = np.asarray(picture.getchannel("A")) < 128
    flat = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    out = io.BytesIO()
    if clear.any():
        palette = flat.getpalette()
        flat = Image.fromarray(np.where(clear, COLOURS, np.asarray(flat)).astype(np.uint8))
        flat.putpalette(palette)
        flat.save(out, format="PNG", optimize=True, transparency=COLOURS)
    else:
        flat.save(out, format="PNG", optimize=True)
    return out.getvalue()


@contextlib.contextmanager
def dark_twin(figure: Figure) -> Iterator[Figure]:
    """The figure with every colour of the theme swapped for its dark twin, and swapped back on leaving."""
    _recolour(figure, LIGHT, DARK, HEAT, HEAT_DARK)
    try:
        yield figure
    finally:
        _recolour(figure, DARK, LIGHT, HEAT_DARK, HEAT)


def _recolour(figure: Figure, old: dict, new: dict, old_map: object, new_map: object) -> None:
    table = {old[name]: new[name] for name in old}
    figure.draw_without_rendering()  # ticks exist only after a draw
    for artist in figure.findobj():
        _swap(artist, table)
        if isinstance(artist, Text) and artist.get_bbox_patch():
            _swap(artist.get_bbox_patch(), table)
        if isinstance(artist, ScalarMappable) and artist.get_cmap() == old_map:
            artist.set_cmap(new_map)


def _swap(artist: Artist, table: dict[str, str]) -> None:
    for channel in CHANNELS:
        if not hasattr(artist, f"get_{channel}") or not hasattr(artist, f"set_{channel}"):
            continue
        value = getattr(artist, f"get_{channel}")()
        if isinstance(value, str) and value in ("auto", "none", "face", "inherit"):
            continue
        rows = to_rgba_array(value)
        swapped = np.array([to_rgba(table.get(to_hex(row), to_hex(row)), row[3]) for row in rows])
        if len(rows) and not np.allclose(rows, swapped, atol=1 / 512):
            getattr(artist, f"set_{channel}")(swapped if np.ndim(value) == 2 else tuple(swapped[0]))


def _figure(drawing: Figure | Axes) -> Figure:
    return drawing if isinstance(drawing, Figure) else drawing.get_figure(root=True)


def _has_background(figure: Figure) -> bool:
    return figure.get_facecolor()[3] > 0
