"""Show a figure in a notebook, light and dark, with its text alternative; save one as a file."""

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
from scipy.cluster.vq import vq

from imgcls.files import write
from imgcls.messages import UserError
from imgcls.plots.theme import DARK, HEAT, HEAT_DARK, LIGHT, TIME_AXIS, check_glyphs, themed

DARK_MIME = "application/vnd.imgcls.dark+png"
CSS_DPI = 100  # CSS pixels of a report for one inch of figure
DENSITY = 1.5  # device pixels per CSS pixel: sharp on dense screens at 60 % of the bytes of 2
EXACT, CUT = 40, 40  # colours of a chart
IMAGE_COLOURS = (255, 128, 64)  # colours of a grid of images: the first number within its limit of bytes
IMAGE_BYTES = 90_000
COVER_BYTES = 250_000  # of the figure that represents a report
CHANNELS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def show(drawing: Figure | Axes, alt: str, caption: str = "", cover: bool = False) -> None:
    """Display a figure in the notebook as light PNG, dark twin and text alternative, then close it.

    Grids of images have no background and so need no twin. Outside a notebook the text alternative is printed.

    Args:
        drawing: A figure, or any of its axes.
        alt: Description of the figure for readers who cannot see it, in one or two sentences.
        caption: Line below the figure.
        cover: Whether this figure represents the whole report in the index.

    Raises:
        ValueError: No text alternative.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise UserError(f"show: alt is {alt!r}; describe the figure in a sentence for readers who cannot see it")
    figure = _figure(drawing)
    light = render(figure, COVER_BYTES if cover else IMAGE_BYTES)
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


def save(drawing: Figure | Axes, path: str | Path) -> Path:
    """Write a figure as PNG without metadata, so that the same figure gives the same bytes; returns the path."""
    return write(Path(path), render(_figure(drawing)))


# Paletted, as WebP in all colours would be larger: of 16 charts and 5 grids of generated images, the charts took 1.2 to
# 1.9 times the bytes (lossless), the grids 2.6 to 5.5 times (lossless) or 0.5 to 2 times (quality 80, which blurs the
# pixels of small images). `Image.quantize` by itself changes the colours of the background and of fills.
@themed
def render(figure: Figure, limit: int = IMAGE_BYTES) -> bytes:
    """PNG of a figure without metadata: charts in 80 colours, grids of images in as many as fit into `limit` bytes."""
    check_glyphs(figure)
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the dark twin gets the same layout
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=CSS_DPI * DENSITY, pil_kwargs={"compress_level": 0})
    picture = Image.open(raw).convert("RGBA")
    if _has_background(figure):
        return _png(picture, _chart_palette(picture))
    sample = picture.convert("RGB").resize((picture.width // 3, picture.height // 3), Image.Resampling.NEAREST)
    for colours in IMAGE_COLOURS:
        png = _png(picture, _image_palette(sample, colours))
        if len(png) <= limit:
            break
    return png


def _chart_palette(picture: Image.Image) -> list[int]:
    """The most common colours unchanged, so that fills are exact, and a median cut of the rest."""
    found = sorted(picture.convert("RGB").getcolors(picture.width * picture.height), reverse=True)
    colours = np.array([colour for _, colour in found], np.uint8)
    rest = Image.fromarray(colours[None]).quantize(CUT, Image.Quantize.MEDIANCUT).getpalette()
    return [*colours[:EXACT].ravel().tolist(), *rest]


def _image_palette(sample: Image.Image, colours: int) -> list[int]:
    """Three quarters for common colours, one quarter for rare ones, such as the ends of a colour scale."""
    common = sample.quantize(colours * 3 // 4, Image.Quantize.MEDIANCUT).getpalette()
    return common + sample.quantize(colours // 4, Image.Quantize.MAXCOVERAGE).getpalette()


def _png(picture: Image.Image, palette: list[int]) -> bytes:
    """PNG with each pixel in the nearest colour of the palette; an additional index is transparent."""
    pixels = np.asarray(picture)
    which, codes = pd.factorize((pixels.view("<u4")[..., 0] & 0xFFFFFF).ravel())
    found = np.stack([codes & 255, codes >> 8 & 255, codes >> 16], 1).astype(float)
    known = np.array(palette, float).reshape(-1, 3)
    indices = vq(found, known)[0].astype(np.uint8)[which].reshape(pixels.shape[:2])
    clear = pixels[..., 3] < 128
    indices[clear] = len(known)
    flat, out = Image.fromarray(indices), io.BytesIO()
    flat.putpalette([*palette, 0, 0, 0])
    flat.save(out, format="PNG", optimize=True, **({"transparency": len(known)} if clear.any() else {}))
    return out.getvalue()


@contextlib.contextmanager
def dark_twin(figure: Figure) -> Iterator[Figure]:
    """Inside the `with` block every colour of the light theme is replaced by its dark twin."""
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
            artist.set_cmap(new_map)  # first, since a colour bar redraws itself
    for artist in figure.findobj():
        _swap(artist, table)
        if isinstance(artist, Text):  # its background and its arrow are not among its children
            for part in filter(None, (artist.get_bbox_patch(), getattr(artist, "arrow_patch", None))):
                _swap(part, table)


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
