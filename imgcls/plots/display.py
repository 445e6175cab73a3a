"""Show a figure in a notebook, light and dark, with its text alternative; save one for the repository."""

import base64
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import publish_display_data
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from imgcls.files import write
from imgcls.plots.theme import DARK, HEAT, HEAT_DARK, LIGHT, TIME_AXIS, themed

DARK_MIME = "application/vnd.imgcls.dark+png"
CSS_DPI = 100  # CSS px that a report gives one inch of figure
DENSITY = 1.5  # device px per CSS px: text stays sharp on dense screens at 60 % of the bytes of 2
EXACT, CUT = 40, 40  # colours of a chart
PICTURE_COLOURS = (255, 128, 64)  # the first that keeps a sheet of pictures within its bytes
PICTURE_BYTES = 90_000
COVER_BYTES = 250_000  # the one picture that stands for the report, in the README too
CHANNELS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def show(drawing: Figure | Axes, alt: str, caption: str = "", cover: bool = False) -> None:
    """Display a figure in the notebook as one bundle: light PNG, dark twin, text alternative; then close it.

    Grids of pictures are drawn without a background and with captions on plates of their own, sit on light and dark
    pages alike, and so come in one version. Outside a notebook the text alternative is printed.

    Args:
        drawing: a figure, or any axes of it.
        alt: what a reader who cannot see the figure should know, in a sentence or two.
        caption: a line for everyone, shown under the figure.
        cover: whether this is the picture that stands for the whole report in the index.

    Raises:
        ValueError: without a text alternative.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f"show: alt is {alt!r}; say in a sentence what the figure shows, for readers who cannot see it"
        )
    figure = _figure(drawing)
    light = render(figure, COVER_BYTES if cover else PICTURE_BYTES)
    data = {"image/png": base64.b64encode(light).decode(), "text/plain": alt}
    opaque = _has_background(figure)
    if opaque:
        with dark_twin(figure):
            data[DARK_MIME] = base64.b64encode(render(figure)).decode()
    about = {"alt": alt, "caption": caption, "width": round(figure.get_figwidth() * CSS_DPI), "opaque": opaque}
    about |= {"cover": True} if cover else {}
    about |= {"timed": True} if any(ax.get_xlabel() == TIME_AXIS for ax in figure.axes) else {}
    plt.close(figure)
    if get_ipython() is None:
        print(alt)
    else:
        publish_display_data(data, {"image/png": about})


def save(drawing: Figure | Axes, path: str | Path, dark: bool = False) -> Path:
    """Write a figure as PNG without any metadata, so that the same figure gives the same bytes; returns the path."""
    figure, path = _figure(drawing), Path(path)
    with dark_twin(figure) if dark and _has_background(figure) else contextlib.nullcontext():
        return write(path, render(figure))


@themed
def render(figure: Figure, limit: int = PICTURE_BYTES) -> bytes:
    """PNG of a figure without metadata, in as few colours as it bears: charts in their own, pictures in up to 255.

    Pictures get fewer colours where they would take more than `limit` bytes.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # both versions get the same layout
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=CSS_DPI * DENSITY, pil_kwargs={"compress_level": 0})
    picture = Image.open(raw).convert("RGBA")
    if _has_background(figure):
        return _png(picture, _chart_palette(picture))
    sample = picture.convert("RGB").resize((picture.width // 3, picture.height // 3), Image.Resampling.NEAREST)
    for colours in PICTURE_COLOURS:
        png = _png(picture, _picture_palette(sample, colours))
        if len(png) <= limit:
            break
    return png


def _chart_palette(picture: Image.Image) -> list[int]:
    """The commonest colours as they are, so that fills stay exact, and a median cut of the rest for edges and ramps."""
    found = sorted(picture.convert("RGB").getcolors(picture.width * picture.height), reverse=True)
    colours = np.array([colour for _, colour in found], np.uint8)
    rest = Image.fromarray(colours[None]).quantize(CUT, Image.Quantize.MEDIANCUT).getpalette()
    return [*colours[:EXACT].ravel().tolist(), *rest]


def _picture_palette(sample: Image.Image, colours: int) -> list[int]:
    """Three quarters for what is common, one quarter for what is far from it, such as the ends of a colour scale."""
    common = sample.quantize(colours * 3 // 4, Image.Quantize.MEDIANCUT).getpalette()
    return common + sample.quantize(colours // 4, Image.Quantize.MAXCOVERAGE).getpalette()


def _png(picture: Image.Image, palette: list[int]) -> bytes:
    """The picture with each pixel at the nearest colour of the palette, one more index being transparent."""
    pixels = np.asarray(picture)
    packed = pixels.view("<u4")[..., 0] & 0xFFFFFF
    codes = pd.unique(packed.ravel())
    colours = np.stack([codes & 255, codes >> 8 & 255, codes >> 16]).astype(np.float32)
    known = np.array(palette, np.float32).reshape(-1, 3)
    distance = (known**2).sum(1) - 2 * colours.T @ known.T  # |a - b|² without |a|²; whole numbers, so exact
    nearest = np.zeros(1 << 24, np.uint8)
    nearest[codes] = distance.argmin(1)
    indices = nearest[packed]
    clear = pixels[..., 3] < 128
    indices[clear] = len(known)
    flat, out = Image.fromarray(indices), io.BytesIO()
    flat.putpalette([*palette, 0, 0, 0])
    flat.save(out, format="PNG", optimize=True, **({"transparency": len(known)} if clear.any() else {}))
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
    for artist in figure.findobj(lambda a: isinstance(a, ScalarMappable)):
        if artist.get_cmap() == old_map:
            artist.set_cmap(new_map)  # a colour bar draws itself anew, so this comes first
    for artist in figure.findobj():
        _swap(artist, table)
        if isinstance(artist, Text) and artist.get_bbox_patch():
            _swap(artist.get_bbox_patch(), table)


def _swap(artist: Artist, table: dict[str, str]) -> None:
    for channel in CHANNELS:
        if not hasattr(artist, f"get_{channel}") or not hasattr(artist, f"set_{channel}"):
            continue
        value = getattr(artist, f"get_{channel}")()
        if isinstance(value, str) and value in ("auto", "none", "face", "inherit"):
            continue
        rows = to_rgba_array(value)
        names = [to_hex(row) for row in rows]
        if any(name in table for name in names):
            rows[:, :3] = [to_rgb(table[n]) if n in table else row[:3] for n, row in zip(names, rows, strict=True)]
            getattr(artist, f"set_{channel}")(rows if np.ndim(value) == 2 else tuple(rows[0]))


def _figure(drawing: Figure | Axes) -> Figure:
    return drawing if isinstance(drawing, Figure) else drawing.get_figure(root=True)


def _has_background(figure: Figure) -> bool:
    return figure.get_facecolor()[3] > 0
