"""TeX formulas as inline SVG, drawn by matplotlib's mathtext: a page needs neither script nor font for them."""

import html
import logging
import re
from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

_EM = 100  # mathtext lays out at this size, so that 100 units are one em
_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


class FormulaError(ValueError):
    """A formula that mathtext cannot draw."""


@cache
def to_svg(tex: str, display: bool = False) -> str:
    """One `<svg>` in the colour and on the baseline of the text around it, with the TeX as its accessible name.

    Raises:
        FormulaError: names the formula and the position of the error.
    """
    source = " ".join(tex.split())
    prop = FontProperties(math_fontfamily="stix", size=_EM)
    layout = TextToPath()
    log = logging.getLogger("matplotlib.mathtext")
    log.addFilter(_raise)  # mathtext only logs that its font lacks a character
    try:
        text = f"${_display_style(source) if display else source}$"
        width, height, depth, *_ = layout.mathtext_parser.parse(text, layout.DPI, prop)
        vertices, codes = layout.get_text_path(prop, text, ismath=True)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise FormulaError(f"the formula ${source}$ cannot be drawn: {reason[-1] if reason else error}") from None
    finally:
        log.removeFilter(_raise)
    top, label = height - depth, html.escape(source, quote=True)
    path = "".join(
        _COMMANDS[code] + " ".join(f"{x:.0f} {top - y:.0f}" for x, y in points.reshape(-1, 2))
        if code != Path.CLOSEPOLY
        else "Z"
        for points, code in (Path(vertices, codes).iter_segments(simplify=False, curves=True) if len(codes) else ())
    )
    return (
        f'<svg class="tex" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" style="width:{width / _EM:.2f}em;height:{height / _EM:.2f}em;'
        f'vertical-align:{-depth / _EM:.2f}em"><title>{label}</title><path fill="currentColor" d="{path}"/></svg>'
    )


def _display_style(tex: str) -> str:
    """Fractions outside every brace at full size, as TeX sets them in a displayed formula."""
    depth, parts = 0, []
    for part in re.split(r"(\\[a-zA-Z]+|\\.|[{}])", tex):
        depth += {"{": 1, "}": -1}.get(part, 0)
        parts.append(r"\dfrac" if part == r"\frac" and depth == 0 else part)
    return "".join(parts)


def _raise(record: logging.LogRecord) -> bool:
    raise ValueError(record.getMessage())
