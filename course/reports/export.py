"""Render an executed notebook to one HTML file without scripts and requests, at most 2 MB."""

import base64
import copy
import html
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from course import exercises
from course.reports import index, pages
from course.reports.errors import ReportError
from course.reports.files import Files
from course.reports.markup import Heading, Slugs, Unexportable, data_uri, highlighted, inline, markdown, plain, sanitize
from course.reports.math import FormulaError, to_svg
from course.reports.parameters import Parameter, notebooks, read
from course.reports.run import fail, title
from imgcls import paths
from imgcls.files import write

MAX_BYTES = 2_000_000
FOLDED = "Diagnostics"  # heading of the section that the page folds
_COUNT = "\ue002"  # placeholder for the number of figures in it, which come after its heading
_DARK = "application/vnd.imgcls.dark+png"
# Durations and rates as `imgcls.messages.format_duration`, the training loop and `imgcls train` write them.
_TIMES = re.compile(r"[\d,.]+ images/s\b|\b[\d,.]+ (?:s|min|h)\b(?: \d+ (?:min|s)\b)?")
_PICTURES = {"image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


@dataclass
class Figure:
    """One picture of the report."""

    number: int
    kind: str
    content: bytes
    dark: bytes | None
    alt: str
    caption: str
    cover: bool
    timed: bool
    cell: str
    embedded: int = 0  # bytes that both versions take in the page

    @property
    def file(self) -> str:
        """File name without the notebook's name, e.g. `3-learning-curves.png`."""
        words = re.sub(r"[^a-z0-9]+", "-", (self.caption or self.alt).lower()).strip("-").split("-")
        return f"{self.number}-{'-'.join(words[:6])[:48]}.{_PICTURES[self.kind]}"


@dataclass
class Report:
    """Title, headings and figures, collected from the cells."""

    title: str = ""
    contents: list[Heading] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    slugs: Slugs = field(default_factory=Slugs)
    folding: bool = False  # inside the folded section
    folded: int = 0  # figures in it


def render(name: str, profile: str = "default") -> Path:
    """Write the report, its result and its figures, and return the path of the page.

    Raises:
        ReportError: there is no executed notebook, a picture has no alt text, a formula cannot be drawn, or the page
            is larger than 2 MB; `NAME.failed.html` then replaces an old report.
    """
    files = Files(name, profile)
    if not (files.executed.exists() and files.result.exists()):
        raise ReportError(f"{name} has not been executed under the profile {profile}: run it first")
    result = json.loads(files.result.read_text(encoding="utf-8"))
    result.pop("token", None)
    try:
        content, figures = to_html(nbformat.read(files.executed, as_version=4), result)
        _check_size(name, content, figures)
    except (Unexportable, FormulaError) as error:
        fail(files, str(error), keep_executed=True)  # a corrected template must not cost another run
        raise ReportError(f"{name} could not be rendered: {error}") from None
    for old in files.figures():
        old.unlink()
    result["figures"] = [_save(files, figure) for figure in figures]
    write(files.json, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write(files.html, content)
    files.failed.unlink(missing_ok=True)
    index.write_index(profile)
    return files.html


def to_html(notebook: Any, result: dict[str, Any]) -> tuple[str, list[Figure]]:
    """The page, and the figures in it.

    Raises:
        Unexportable: content that a page cannot hold; the message names the cell.
        FormulaError: a formula that cannot be drawn; the message names formula and cell.
    """
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(copy.deepcopy(notebook), {})
    report = Report()
    try:
        exercises.find(notebook.cells)
    except ValueError as error:
        raise Unexportable(str(error)) from None
    number = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", ())
        foreign = bool({"injected-parameters", "papermill-error-cell-tag"} & set(tags))  # added by papermill
        number += not foreign
        hidden = "hide" in tags or foreign
        try:
            cell.metadata["report"] = None if hidden else _cell(cell, report, result, f"cell {number}")
        except (Unexportable, FormulaError) as error:
            raise type(error)(f"cell {number} ({title(cell.source)!r}): {error}") from None
    for cell in notebook.cells:
        if (part := cell.metadata["report"]) and _COUNT in part.get("html", ""):
            count = f"<span>{report.folded} figure{'' if report.folded == 1 else 's'}</span>" if report.folded else ""
            part["html"] = part["html"].replace(_COUNT, count)
    exporter = TemplateExporter(
        template_name=pages.TEMPLATE.name,
        template_file="report.html.j2",
        extra_template_basedirs=[str(pages.TEMPLATE.parent)],
        filters=pages.filters(),
    )
    names = notebooks()
    here = names.index(result["case"]) if result["case"] in names else None
    beside = {} if here is None else {"previous": names[:here][-1:], "next": names[here + 1 :][:1]}
    values = pages.globals_() | {
        "neighbours": {
            side: {"name": found[0], "title": index.title(Files(found[0]))} for side, found in beside.items() if found
        },
        "result": result,
        "title": report.title or result["case"],
        "contents": [item for item in report.contents if item.level in (2, 3)],
        "folding": report.folding,
    }
    return exporter.from_notebook_node(notebook, {"report": values})[0], report.figures


def _cell(cell: Any, report: Report, result: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Values of one cell for the template; None if it shows nothing."""
    if cell.cell_type == "markdown":
        text, headings = markdown(cell.source, report.slugs, cell.get("attachments"), paths.NOTEBOOKS)
        if not report.title and headings and headings[0].level == 1:
            report.title = headings.pop(0).plain
            text = re.sub(r"<h1[^>]*>.*?</h1>", "", text, count=1, flags=re.S)
        text = _fold(text, headings, report)
        opens = exercises.part_of(cell) == "task"
        return {"html": text, "exercise": headings[0].id if opens and headings else None}
    if cell.cell_type != "code":
        return None
    outputs = "\n".join(filter(None, (_output(output, report, name) for output in cell.outputs)))
    part = exercises.part_of(cell)
    if "parameters" in cell.metadata.get("tags", ()):
        return {"label": "Parameters of this run", "lines": 0, "code": _parameters(result), "outputs": outputs}
    code = f'<pre class="code">{highlighted(cell.source)}</pre>' if cell.source.strip() else ""
    lines = len(cell.source.strip().splitlines())
    label = {"given": "Given", "start": "Start", "solution": "Solution", "check": "Check"}.get(part, "Code")
    states = {"folded": part, "open": part == "start", "last": part == "check"}
    return {"label": label, "lines": lines, "code": code, "outputs": outputs} | states


def _fold(text: str, headings: list[Heading], report: Report) -> str:
    """The HTML of a Markdown cell in which the folded section begins and ends at its headings of the second level.

    Headings are added to the contents, but not those inside the folded section, to which a link could not lead.
    """
    for heading in headings:
        if heading.level == 2:
            end, report.folding = "</details>" if report.folding else "", heading.plain == FOLDED
            begin = '<details class="section"><summary>' if report.folding else ""
            close = f"{_COUNT}</summary>" if report.folding else ""
            tag = f'<h2 id="{heading.id}">'
            before, _, after = text.partition(tag)
            words, _, after = after.partition("</h2>")
            text = f"{before}{end}{begin}{tag}{words}</h2>{close}{after}"
        if heading.level <= 2 or not report.folding:
            report.contents.append(heading)
    return text


def _parameters(result: dict[str, Any]) -> str:
    """Table of the parameters of the run; changed ones with their default."""
    try:
        declared = read(result["case"])
    except (OSError, ValueError):
        declared = {}
    rows = []
    for key, value in result["parameters"].items():
        known = declared.get(key, Parameter(key, "", False, default=value))
        changed = "" if known.default == value else f"instead of {known.default!r}"
        name, given, changed, note = (html.escape(text) for text in (key, repr(value), changed, known.note))
        rows.append(f"<td><code>{name}</code></td><td><code>{given}</code></td><td>{changed}</td><td>{note}</td>")
    head = "<thead><tr><th>name</th><th>value</th><th>changed</th><th>meaning</th></tr></thead>"
    return sanitize(f"<table>{head}<tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table>")


def _output(output: Any, report: Report, name: str) -> str:
    """HTML of one output."""
    if output.output_type == "stream":
        return _stream(_tidy(plain(output.text)), output.name)
    if output.output_type == "error":
        return f'<pre class="stream error">{html.escape(_tidy(plain(chr(10).join(output.traceback))))}</pre>'
    data = output.data
    for kind in _PICTURES:
        if kind in data:
            return _figure(output, kind, report, name)
    if "text/markdown" in data:
        return (
            f'<div class="prose">{markdown("".join(data["text/markdown"]), report.slugs, from_results=True)[0]}</div>'
        )
    if "text/html" in data and "application/vnd.jupyter.widget-view+json" not in data:
        return f'<div class="output">{sanitize("".join(data["text/html"]))}</div>'
    if "text/latex" in data:
        tex = "".join(data["text/latex"]).strip().strip("$").removeprefix(r"\displaystyle").strip()
        return f'<div class="formula">{to_svg(tex, display=True)}</div>'
    return _stream(_tidy(plain("".join(data.get("text/plain", "")))), "result")


def _tidy(text: str) -> str:
    """Terminal text without paths that differ between machines: the kernel's files, the checkout, the home folder."""
    text = re.sub(r"\S*ipykernel_\d+[/\\]\d+\.py:(\d+)", r"line \1 of this cell", text)
    return text.replace(f"{paths.ROOT}/", "").replace(str(Path.home()), "~").strip("\n")


def _stream(text: str, name: str, fold: int = 40) -> str:
    """Terminal text, folded if it is long; standard error is labelled."""
    if not text.strip():
        return ""
    label = '<span class="label">standard error</span>' if name == "stderr" else ""
    marked = _TIMES.sub(r'<span class="time">\g<0></span>', html.escape(text))
    block = f'<div class="stream {name}">{label}<pre tabindex="0">{marked}</pre></div>'
    lines = text.count("\n") + 1
    if lines <= fold:
        return block
    what = "Standard error" if name == "stderr" else "Output"
    return f'<details class="fold"><summary>{what}<span>{lines} lines</span></summary>{block}</details>'


def _figure(output: Any, kind: str, report: Report, name: str) -> str:
    """A picture with its dark version, its description and its caption."""
    meta = output.metadata.get(kind, {})
    alt = str(meta.get("alt", "")).strip()
    if not alt:
        raise Unexportable(f"a figure has no alt text: give it as metadata {{{kind!r}: {{'alt': ...}}}}")
    content, dark = _bytes(output.data[kind], kind), output.data.get(_DARK)
    figure = Figure(
        number=len(report.figures) + 1,
        kind=kind,
        content=content,
        dark=_bytes(dark, "image/png") if dark else None,
        alt=alt,
        caption=str(meta.get("caption", "")).strip(),
        cover=bool(meta.get("cover")),
        timed=bool(meta.get("timed")),
        cell=name,
    )
    report.figures.append(figure)
    report.folded += report.folding
    width, height = _size(content, kind, meta.get("width"))
    size = f' width="{width}" height="{height}"' if width else ""
    light, twin = picture_uri(content, kind), picture_uri(figure.dark, "image/png") if figure.dark else ""
    figure.embedded = len(light) + len(twin)
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{twin}">' if twin else ""
    # A picture without a dark version gets a light background in dark mode, unless it suits any background.
    plate = "plate" if not figure.dark and meta.get("opaque", True) else ""
    classes = " ".join(filter(None, [plate, "time" if figure.timed else ""]))
    attribute = f' class="{classes}"' if classes else ""
    caption = f" {inline(figure.caption)}" if figure.caption else ""
    return (
        f'<figure id="figure-{figure.number}"{attribute}><picture>{source}'
        f'<img src="{light}" alt="{html.escape(alt, quote=True)}"{size}></picture>'
        f"<figcaption><b>Figure {figure.number}.</b>{caption}</figcaption></figure>"
    )


def _bytes(content: Any, kind: str) -> bytes:
    text = "".join(content)
    return text.encode() if kind == "image/svg+xml" else base64.b64decode(text)


def picture_uri(content: bytes, kind: str) -> str:
    """The picture as a data URI; a PNG as lossless WebP if that is smaller (usually by a quarter)."""
    if kind == "image/png":
        smaller = io.BytesIO()
        with Image.open(io.BytesIO(content)) as picture:
            if "A" in picture.getbands() or "transparency" in picture.info:
                picture = picture.convert("RGBA")
            picture.save(smaller, "WEBP", lossless=True, quality=75, method=3)  # higher effort: slow, saves 2 %
        if smaller.tell() < len(content):
            content, kind = smaller.getvalue(), "image/webp"
    return data_uri(content, kind)


def _size(content: bytes, kind: str, width: int | None) -> tuple[int, int]:
    """Width and height in CSS pixels, so that the page does not jump while it loads; (0, 0) if unknown."""
    if kind == "image/svg+xml":
        return 0, 0
    with Image.open(io.BytesIO(content)) as picture:
        width = round(width or picture.width)
        return width, round(picture.height * width / picture.width)


def _save(files: Files, figure: Figure) -> str:
    """Write a figure with its description inside, and its dark version; returns its path for the result file."""
    relative = f"figures/{files.name}-{figure.file}"
    path = files.folder / relative
    if figure.dark:
        write(path.with_suffix(".dark.png"), figure.dark)
    if figure.kind != "image/png":
        write(path, figure.content)
        return relative
    info = PngInfo()
    info.add_itxt("Description", figure.alt)
    if figure.cover:
        info.add_text("Cover", "yes")
    if figure.timed:
        info.add_text("Timed", "yes")
    described = io.BytesIO()
    with Image.open(io.BytesIO(figure.content)) as picture:
        picture.save(described, "PNG", pnginfo=info)
    write(path, described.getvalue())
    return relative


def _check_size(name: str, content: str, figures: list[Figure]) -> None:
    size = len(content.encode())
    if size <= MAX_BYTES:
        return
    largest = "; ".join(
        f"figure {figure.number} in {figure.cell}: {figure.embedded / 1e3:,.0f} kB"
        for figure in sorted(figures, key=lambda figure: -figure.embedded)[:5]
    )
    raise Unexportable(f"{name}.html would be {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}: {largest}")
