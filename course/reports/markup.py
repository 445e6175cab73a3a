"""Markdown, HTML, streams and code of notebooks as HTML that is safe and self-contained."""

import base64
import html
import mimetypes
import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import mistune
from bs4 import BeautifulSoup, Comment
from bs4.element import PreformattedString
from mistune import escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from course.contents import read_contents

_TAGS, _DROPPED, _UNSHOWABLE = (
    frozenset(names.split())
    for names in (
        "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5"
        " h6 hr i img kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead"
        " time tr u ul var",
        "script style link meta base head title template noscript",
        "iframe object embed applet video audio canvas svg math form input button select textarea",
    )
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height", "title"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "ol": {"start"},
    "details": {"open"},
    "abbr": {"title"},
    "time": {"datetime"},
}
_NUMBER = re.compile(
    r"(?:[<>≤≥]\s?)?[-+−±]?[\d.,]+(e[-+]?\d+)?\s*(%|s|min|h|MB|kB|px|×|M|k)?(\s*\[.*\])?|[-–—]|nan|inf", re.I
)
TIMED = re.compile(r"(?:seconds|time)\b")  # names of columns, and of values in result files
# No line break between a number and its unit, spread or sign, nor in an interval.
_TOGETHER = re.compile(r"(?<=\d) (?=[%±])|(?<=[±<]) (?=\d)|(?<=,) (?=[-+−]?[\d.]+\])")
_CALLOUT = re.compile(r"\s*<p>\s*<strong>(Mistake|Lesson|Try it)\b", re.I)
_MATH = ("math", "mistune.plugins.math.math_in_quote", "mistune.plugins.math.math_in_list")
_PLUGINS = ("table", "strikethrough", "url", "def_list", *_MATH)
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][0-9A-B])")
_TAG, _FORMULA = re.compile(r"<[^>]+>"), re.compile(r"\ue000(\d+)\ue001")
_OURS = re.compile(r'<span class="(time|commit)">|</span>|</?code>')  # what `course.reports.result` writes
_MARK = "\ue000{}\ue001"  # placeholder for a formula while the HTML around it is sanitized


class Unexportable(ValueError):
    """Content that a self-contained page cannot show."""


class Heading(NamedTuple):
    """A heading: `plain` is text with TeX, `html` has its formulas as SVG and no other tags."""

    level: int
    id: str
    plain: str
    html: str


class Slugs:
    """Identifiers for headings, each used once."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        """A short id made of the words of `text`."""
        slug = re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:60] or "section"
        self._seen[slug] = self._seen.get(slug, 0) + 1
        return slug if self._seen[slug] == 1 else self(f"{slug}-{self._seen[slug]}")


class _Renderer(mistune.HTMLRenderer):
    """Mistune's HTML with our headings, callouts, formulas, code and embedded pictures."""

    def __init__(self, slugs: Slugs, attachments: Mapping[str, Any], folder: Path, from_results: bool) -> None:
        super().__init__(escape=False)
        self.slugs, self.attachments, self.folder, self.from_results = slugs, attachments, folder, from_results
        self.formulas: list[str] = []
        self.headings: list[Heading] = []

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        short = _FORMULA.sub(lambda m: self.formulas[int(m[1])], _TAG.sub("", text))
        plain = html.unescape(re.sub(r'<svg[^>]*aria-label="([^"]*)".*?</svg>', r"\1", short, flags=re.S))
        slug = self.slugs(plain)
        self.headings.append(Heading(level, slug, plain, short))
        return f'<h{level} id="{slug}">{text}</h{level}>\n'

    def block_math(self, text: str) -> str:
        return f'<div class="formula">{self._formula(text, display=True)}</div>\n'

    def inline_math(self, text: str) -> str:
        return self._formula(text)

    def _formula(self, tex: str, display: bool = False) -> str:
        from course.reports.math import to_svg  # brings matplotlib, which most texts do without

        self.formulas.append(to_svg(tex, display))
        return _MARK.format(len(self.formulas) - 1)

    def inline_html(self, html: str) -> str:
        return escape(html) if self.from_results and not _OURS.fullmatch(html) else html

    def block_html(self, html: str) -> str:
        return f"<p>{escape(html.strip())}</p>\n" if self.from_results else super().block_html(html)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if self.from_results:
            return f"![{text}]({escape(url)})"
        if not text.strip():
            raise Unexportable(f"the picture {url[:60]!r} has no alt text: write ![what it shows]({url[:60]})")
        source = html.escape(_embed(url, self.attachments, self.folder), quote=True)
        return f'<img src="{source}" alt="{html.escape(html.unescape(text), quote=True)}">'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        other = re.match(r"(?:\./)?([^:#?]+)\.ipynb(?:#|$)", url)
        if other and not self.from_results and not _is_notebook(unquote(other[1]), self.folder):
            raise Unexportable(f"the link {url!r} leads to a notebook that does not exist")
        return super().link(text, url, title)

    def block_quote(self, text: str) -> str:
        callout = _CALLOUT.match(text)
        kind = f' class="callout {callout[1].lower().replace(" ", "-")}"' if callout else ""
        return f"<blockquote{kind}>\n{text}</blockquote>\n"

    def block_code(self, code: str, info: str | None = None) -> str:
        return f'<pre class="code">{highlighted(code, (info or "text").split()[0])}</pre>\n'


def markdown(
    source: str,
    slugs: Slugs,
    attachments: Mapping[str, Any] | None = None,
    folder: Path = Path(),
    from_results: bool = False,
) -> tuple[str, list[Heading]]:
    """HTML of a Markdown text, and its headings.

    Args:
        source: Markdown.
        slugs: Makes the identifiers of the headings.
        attachments: Pictures of the cell.
        folder: Where other pictures are.
        from_results: The text was built by a cell and may hold names from data: HTML and pictures are shown as text.

    Raises:
        FormulaError: a formula cannot be drawn.
        Unexportable: a picture is on the network, is missing or has no alt text; a link leads to no notebook.
    """
    renderer = _Renderer(slugs, attachments or {}, folder, from_results)
    source = source.translate({0xE000: "?", 0xE001: "?"})  # not to be taken for the mark of a formula
    page = sanitize(mistune.create_markdown(renderer=renderer, plugins=_PLUGINS)(source), keep_ids=True)
    return _FORMULA.sub(lambda m: renderer.formulas[int(m[1])], page), renderer.headings


def inline(source: str) -> str:
    """HTML of a Markdown text of one paragraph that a cell built, without the paragraph."""
    return re.sub(r"^<p>(.*)</p>$", r"\1", markdown(source, Slugs(), from_results=True)[0].strip(), flags=re.S)


def sanitize(source: str, keep_ids: bool = False) -> str:
    """HTML without scripts, requests and foreign styles; each table is put into a box that scrolls.

    Raises:
        Unexportable: a picture would be fetched or has no alt text.
    """
    soup = BeautifulSoup(source, "html.parser")
    for text in soup.find_all(string=lambda text: isinstance(text, Comment | PreformattedString)):
        text.extract()
    for text in soup.find_all(string=_TOGETHER):
        if text.find_parent(["code", "pre"]) is None:
            text.replace_with(_TOGETHER.sub("\xa0", text))
    for tag in soup.find_all(True):
        if tag.decomposed:
            continue
        if tag.name in _DROPPED:
            tag.decompose()
        elif tag.name in _UNSHOWABLE:
            note = soup.new_tag("em", attrs={"class": "removed"})
            note.string = f"[{tag.name} element, not shown]"
            tag.replace_with(note)
            tag.decompose()
        elif tag.name not in _TAGS:
            tag.unwrap()
        else:
            _clean_attributes(tag, keep_ids)
    for table in soup.find_all("table"):
        if "dataframe" in (table.get("class") or ()):
            _tidy_frame(table)
        _align_numbers(table)
        _mark_times(table)
        if table.parent is None or "scroll" not in (table.parent.get("class") or ()):
            box = {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": "Table"}
            table.wrap(soup.new_tag("div", attrs=box))
    return soup.decode(formatter="minimal")


def _tidy_frame(table: Any) -> None:
    """Remove the row numbers of a pandas table without an index; one row of heads; digits in thousands; yes and no."""
    rows = table.select("tbody tr")
    numbers = [row.th.get_text(strip=True) if row.th else None for row in rows]
    corner = table.select_one("thead th")
    if corner is not None and not corner.get_text(strip=True) and numbers == [str(i) for i in range(len(rows))]:
        for first in [row.th for row in table.select("tr")]:
            first.decompose()
    heads = table.select("thead tr")
    if len(heads) == 2 and not any(cell.get_text(strip=True) for cell in heads[1].find_all("th")[1:]):
        heads[0].th.replace_with(heads[1].th)  # pandas gives the name of the index a row of its own
        heads[1].decompose()
    for cell in table.select("td"):
        if re.fullmatch(r"-?\d{4,}", text := cell.get_text(strip=True)):
            cell.string = f"{int(text):,}"
        elif text in ("True", "False"):
            cell.string = "✓ yes" if text == "True" else "✗ no"


def _clean_attributes(tag: Any, keep_ids: bool) -> None:
    allowed = _ATTRIBUTES.get(tag.name, set()) | {"class"} | ({"id"} if keep_ids else set())
    right = tag.name in ("td", "th") and "right" in f"{tag.get('style', '')} {tag.get('align', '')}"
    tag.attrs = {key: value for key, value in tag.attrs.items() if key in allowed}
    if right:
        tag["class"] = "num"
    if tag.name == "a" and "href" in tag.attrs:
        href = re.sub(r"[\x00-\x20]", "", tag["href"])
        scheme = re.match(r"([a-zA-Z][\w+.-]*):", href)
        bad = scheme and scheme[1].lower() not in ("http", "https", "mailto")
        if bad or href == "#harmful-link":  # mistune's word for one
            del tag["href"]
        else:  # a link to another notebook leads to its report
            tag["href"] = re.sub(r"^(?:\./)?(\d\d_\w+)\.ipynb", r"\1.html", href)
    if tag.name == "img":
        if not tag.get("src", "").startswith("data:image/"):
            raise Unexportable(f"the picture {tag.get('src', '')[:60]!r} would have to be fetched by the reader")
        if not tag.get("alt", "").strip():
            raise Unexportable("a picture in HTML has no alt text")


def _align_numbers(table: Any) -> None:
    """Mark the cells of every column that contains only numbers."""
    rows = [row.find_all(["td", "th"], recursive=False) for row in table.find_all("tr")]
    body = [row for row in rows if row and row[0].find_parent("thead") is None]
    for k in range(max(map(len, body), default=0)):
        column = [row[k] for row in body if k < len(row)]
        texts = [cell.get_text().strip() for cell in column]
        if any(texts) and all(not text or _NUMBER.fullmatch(text) for text in texts):
            for cell in column + [row[k] for row in rows if row not in body and k < len(row)]:
                if cell.name == "td" or cell.find_parent("thead") is not None:
                    cell["class"] = "num"


def _mark_times(table: Any) -> None:
    """Mark columns and rows of measured times, which `compare` ignores."""
    names = [cell.get_text().strip() for cell in table.select("thead tr:first-child > *")]
    for row in table.select("tbody tr"):
        cells = row.find_all(["td", "th"], recursive=False)
        whole = bool(cells) and cells[0].name == "th" and TIMED.match(cells[0].get_text().strip())
        for name, cell in zip(names, cells, strict=False):
            if cell.name == "td" and (whole or TIMED.match(name)):
                cell["class"] = [*cell.get_attribute_list("class"), "time"]


def highlighted(code: str, language: str = "ipython3") -> str:
    """Code as spans of Pygments' classes, without a box around it."""
    try:
        lexer = get_lexer_by_name(language, stripnl=True)
    except ClassNotFound:
        lexer = get_lexer_by_name("python" if language == "ipython3" else "text")
    return highlight(code, lexer, HtmlFormatter(nowrap=True)).rstrip("\n")


def plain(text: str) -> str:
    """Terminal text without colour codes; lines that were redrawn appear in their last state."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(reduce(lambda shown, part: part + shown[len(part) :], line.split("\r")).rstrip() for line in lines)


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of a MIME type as an address that a page can hold."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _is_notebook(name: str, folder: Path) -> bool:
    """Whether a notebook is in the folder or in the table of contents of the course."""
    return (folder / f"{name}.ipynb").is_file() or name in read_contents()


def _embed(url: str, attachments: Mapping[str, Any], folder: Path) -> str:
    """Data URI of a picture in a Markdown cell: attached, or a file in `folder`."""
    if url.startswith("data:image/"):
        return url
    if url.startswith("attachment:"):
        name = unquote(url.removeprefix("attachment:"))
        if name not in attachments:
            raise Unexportable(f"the attached picture {name!r} is not in the cell")
        kind, content = next(iter(attachments[name].items()))
        return f"data:{kind};base64,{''.join(content).strip()}"
    path = folder / unquote(url)
    if re.match(r"[a-zA-Z][\w+.-]*:|//", url) or not path.is_file():
        raise Unexportable(f"the picture {url!r} is neither attached nor a file; a report makes no requests")
    return data_uri(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "image/png")
