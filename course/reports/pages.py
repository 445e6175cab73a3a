"""What all pages share: templates, style sheet, and the format of numbers, times and machines."""

import html
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from course.reports.markup import inline
from course.reports.result import STAGES, limits, show, show_limit
from imgcls.messages import format_duration

TEMPLATE = Path(__file__).parent / "template"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(template: str, **values: Any) -> str:
    """One page from `template/`; templates escape text themselves with `|e`."""
    return _environment().get_template(template).render(**globals_(), **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= filters()
    return environment


def filters() -> dict[str, Callable]:
    """Jinja filters of our templates, by the names of the functions."""
    functions = (show, format_duration, moment, computer, commit, number, interval_text, interval_svg, limits, inline)
    return {function.__name__: function for function in functions}


def globals_() -> dict[str, Any]:
    """Names that every template can use."""
    return {"policy": POLICY, "style": (TEMPLATE / "style.css").read_text(encoding="utf-8"), "stages": STAGES}


def moment(text: str) -> str:
    """`3 May 2025, 14:05` from an ISO time."""
    time = datetime.fromisoformat(text)
    return f"{time.day} {time:%B %Y, %H:%M}"


def computer(environment: Mapping[str, Any]) -> str:
    """`cpu, 2 threads, float32; torch 2.12.1, Python 3.11.7`."""
    threads = environment["threads"]
    return (
        f"{environment['device']}, {threads} thread{'' if threads == 1 else 's'}, {environment['precision']}; "
        f"torch {environment['torch']}, Python {environment['python']}"
    )


def commit(environment: Mapping[str, Any]) -> str:
    """`1a2b3c4, changed since`."""
    return f"{environment['commit'] or 'unknown'}{', changed since' if environment['dirty'] else ''}"


def number(row: Mapping[str, Any]) -> str:
    """Value of a headline number."""
    return show(float(row["value"]), row.get("unit"))


def interval_text(row: Mapping[str, Any]) -> str:
    """Interval and sample size of a headline number: `85.5 to 86.9 %, n = 10,000`."""
    low, high = (show_limit(float(row[key]), float(row["value"]), row.get("unit")) for key in ("low", "high"))
    return f"{low.removesuffix(' %') if high.endswith(' %') else low} to {high}, n = {row['n']:,}"


def interval_svg(row: Mapping[str, Any]) -> str:
    """The interval of a share drawn on a line from 0 to 100 %; an empty element for other numbers."""
    if row.get("unit") is not None or not 0 <= row["low"] <= row["high"] <= 1:
        return '<span class="interval"></span>'
    value, low, high = (200 * row[key] for key in ("value", "low", "high"))
    label = html.escape(f"{number(row)} on a scale from 0 to 100 %, interval {interval_text(row)}", quote=True)
    return (
        f'<svg class="interval" role="img" aria-label="{label}" viewBox="-3 0 206 8" preserveAspectRatio="none">'
        f'<path d="M0 4H200" class="scale"/><path d="M{low:.1f} 4H{max(high, low + 0.5):.1f}" class="range"/>'
        f'<path d="M{value:.1f} 0.5V7.5" class="value"/></svg>'
    )
