"""Reports and index in a real browser: what a reader sees, at two widths, in two themes, with scripts and without."""

import importlib.util
import json
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import chromium, needs_browser, screen
from test_reports import cell, figure, make_result, png, stream, text, write_notebook

from course.reports import index
from course.reports.files import Files
from imgcls import paths

pytestmark = needs_browser
NAME = "05_good"
SCREENS = [(width, dark) for width in (390, 1280) for dark in (False, True)]
MADE = {"index": "index.html", "report": f"{NAME}.html", "failed": "02_broken.failed.html"}
BUILT = sorted(path for path in paths.REPORTS.glob("**/*.html") if "smoke" not in path.parts)

# Each finding is "kind: what"; the contrast is that of WCAG 2.2, 1.4.3.
FINDINGS = r"""((width) => {
  const found = [], say = (kind, what) => found.push(kind + ': ' + String(what).replace(/\s+/g, ' ').slice(0, 100));
  const all = selector => [...document.querySelectorAll(selector)];
  const name = e => '<' + e.tagName.toLowerCase() + '> ' + (e.innerText || e.getAttribute('alt') || e.id);
  const overflow = when => {
    const page = document.scrollingElement.scrollWidth;
    if (page > width) {
      const widest = all('body *').filter(e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > width);
      say('scrolls sideways', page + ' px ' + when + ', ' + (widest.length ? name(widest[0]) : 'nothing found'));
    }
  };
  overflow('folded');
  all('details').forEach(e => { e.open = true; });
  overflow('unfolded');
  const levels = all('h1, h2, h3, h4, h5, h6').filter(e => e.checkVisibility());
  levels.forEach((e, i) => {
    const level = Number(e.tagName[1]), before = i ? Number(levels[i - 1].tagName[1]) : 0;
    if (level > before + 1) say('heading skips a level', name(e));
    if (level === 1 && i) say('second h1', name(e));
    if (!e.innerText.trim()) say('heading is empty', e.id);
  });
  if (!levels.length) say('no heading', document.title);
  all('img').forEach(e => {
    if (!e.complete || !e.naturalWidth) say('broken picture', e.alt);
    if (!(e.getAttribute('alt') || '').trim()) say('no alt text', e.src.slice(0, 40));
  });
  all('svg[role=img]').forEach(e => { if (!e.getAttribute('aria-label')) say('no alt text', name(e)); });
  const ids = all('[id]').map(e => e.id);
  new Set(ids.filter((id, i) => ids.indexOf(id) !== i)).forEach(id => say('id twice', id));
  all('[aria-labelledby]').forEach(e => {
    if (!document.getElementById(e.getAttribute('aria-labelledby'))) say('label missing', name(e));
  });
  all('a[href]').forEach(e => {
    if (!e.innerText.trim() && !e.querySelector('img[alt]')) say('link without text', e.getAttribute('href'));
    if (!e.hash || e.pathname !== location.pathname) return;
    if (!document.getElementById(decodeURIComponent(e.hash.slice(1)))) say('dead link', e.getAttribute('href'));
  });
  all('.scroll, pre').forEach(e => {
    if (e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0 && !/auto|scroll/.test(getComputedStyle(e).overflowX))
      say('cut off', name(e));
  });
  const rgba = colour => { const n = colour.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, below) => [0, 1, 2].map(k => top[3] * top[k] + (1 - top[3]) * below[k]);
  const light = c => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + [.2126, .7152, .0722][k] * v, 0);
  const paper = e => {
    if (!e) return [255, 255, 255];
    const own = rgba(getComputedStyle(e).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, paper(e.parentElement));
  };
  const poor = {};
  all('body *').forEach(e => {
    if (e.closest('svg, .skip') || !e.checkVisibility()) return;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) return;
    const style = getComputedStyle(e), below = paper(e), ink = rgba(style.color);
    for (let up = e; up; up = up.parentElement) ink[3] *= Number(getComputedStyle(up).opacity);
    const [a, b] = [light(over(ink, below)), light(below)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + .05) / (b + .05);
    if (ratio < (large ? 3 : 4.5)) poor[e.tagName + '.' + e.className] ??= ratio.toFixed(2) + ' ' + name(e);
  });
  Object.values(poor).forEach(what => say('contrast', what));
  if (!document.documentElement.lang) say('no language', '');
  return found;
})"""
LINKS = "[...document.querySelectorAll('a[href]')].map(e => e.getAttribute('href'))"
COURSE = """
[01_never]
title = "A first notebook"
question = "What is it?"
before = []
concepts = ["one thing", "another thing"]
minutes = 45

[05_good]
title = "A notebook with a rather long title: more than one line on a telephone"
question = "Which question is so long that it takes more than one line?"
before = ["01_never"]
concepts = ["a long concept of many words", "another concept", "a third concept"]
minutes = 90
"""
EXERCISE = [
    cell("### Try it: add up\n\nHow much is one and one, $1 + 1$?", "markdown", ("exercise-task",)),
    cell("given = 1", tags=("exercise-given",)),
    cell("both = given * given  # repair this line", tags=("exercise-start",)),
    cell("both = given + given  # the sum", tags=("exercise-solution",)),
    cell('check("both", both, 2)', tags=("exercise-check",), outputs=[
        {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "✓ `both` is right."}}]),
]  # fmt: skip


def contents():
    """Cells with all that a report may hold, the wide and the long above all."""
    wide = "<table class='dataframe'><thead><tr>" + "<th>a column</th>" * 30 + "</tr></thead><tbody><tr>"
    wide += "<td>12,345.6</td>" * 30 + "</tr></tbody></table>"
    frame = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/html": wide}}
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["ZeroDivisionError: " + "x" * 300]}
    return [
        text("## A part with $e^x$\n\n### Below it\n\nSome `code`, a [link](#below-it) and " + "long" * 60 + "."),
        text("> **Mistake** So it was.\n\n> **Lesson** So it is.\n\n> **Try it** So it may be.\n\n> A quotation."),
        text("$$\\sum_{i=1}^{n} " + " + ".join(f"x_{{{i}}}^2" for i in range(30)) + "$$"),
        text("| a | b |\n| :--- | ---: |\n| one | 12 % |\n\n1. first\n2. second"),
        cell("x = 1  # " + "very " * 50, outputs=[figure("Wide.", png((1400, 500)), png((1400, 500), "navy"))]),
        cell("y = 2", outputs=[figure("On a plate.", caption="With a *caption* and $x$."), stream("out\n" * 60)]),
        cell("z = 3", outputs=[frame, stream("careful " * 60, "stderr"), error], tags=("raises-exception",)),
        *EXERCISE,
        text("## Diagnostics\n\nWhat every run shows.\n\n### Class counts\n\nThe counts:"),
        cell("counts", outputs=[figure("Counts."), frame, stream("out\n" * 60)]),
        text("## After it\n\nThe end."),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of pages in every state: finished, out of date, failed, not built."""
    from course.reports import export

    root = tmp_path_factory.mktemp("site")
    interval = {"metric": "accuracy", "model": "a network", "value": 0.86, "low": 0.85, "high": 0.87, "n": 100}
    claim = {"what": "accuracy", "claimed": 0.8, "as_published": "n/a", "repaired": None, "best": 0.91}
    claim["intervals"] = {"best": [0.9, 0.92]}
    result = make_result().content | {"answer": "Yes: 86 %.", "finished": "2025-05-03T14:05:00+02:00"}
    result |= {"headline": [interval] * 3, "claims": [claim] * 4, "token": "t"}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NOTEBOOKS", "BUILD", "REPORTS"):
            patch.setattr(paths, name, root / name.lower())
        patch.setattr(paths, "ROOT", root)
        patch.setattr(paths, "PROFILES", root / "notebooks" / "profiles")
        for name in ("01_never", "02_broken"):
            write_notebook(root, name, [])
        (root / "notebooks" / "course.toml").write_text(COURSE)
        for name in (NAME, "03_old"):
            files = Files(name)
            write_notebook(root, name, contents())
            files.executed.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files.notebook, files.executed)
            files.result.write_text(json.dumps(result | {"case": name}))
            export.render(name)
        os.utime(Files("03_old").notebook, (time.time() + 60,) * 2)
        index.write_failure(Files("02_broken"), 'the <loss> is "nan"', cell=3, section="A part", log="log",
                            source="1 / 0  # " + "x" * 300, traceback="E\n" * 9, outputs="out")  # fmt: skip
        index.write_index()
    return root / "reports"


@pytest.fixture(scope="module")
def browser():
    with chromium("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking") as started:
        yield started


@pytest.fixture
def visit(browser):
    """Opens a page on a screen without a network; the page notes the addresses that it requests, but for its own."""
    contexts = []

    def open_page(path, width=1280, dark=False, scripts=True):
        contexts.append(browser.new_context(**screen(width, dark), java_script_enabled=scripts, offline=True))
        page = contexts[-1].new_page()
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(path.as_uri())
        page.requested = [url for url in page.requested if url != path.as_uri() and not url.startswith("data:")]
        return page

    yield open_page
    for context in contexts:
        context.close()


def findings(page):
    return page.evaluate(FINDINGS, page.viewport_size["width"])


def dead_links(page, path, notebooks=paths.NOTEBOOKS):
    """Links to what is neither a file nor a page of the web; the report of a notebook may not have been built yet."""
    dead = []
    for href in page.evaluate(LINKS):
        parts = urlsplit(href)
        if parts.scheme in ("http", "https", "mailto") or (notebooks / f"{Path(parts.path).stem}.ipynb").exists():
            continue
        if parts.scheme or (parts.path and not (path.parent / unquote(parts.path)).exists()):
            dead.append(href)
    return dead


@pytest.mark.parametrize("size", SCREENS, ids=str)
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_page_is_sound(site, visit, name, scripts, size):
    path = site / MADE[name]
    page = visit(path, *size, scripts=scripts)
    assert page.requested == []
    assert findings(page) == []
    assert dead_links(page, path, site.parent / "notebooks") == []


@pytest.mark.parametrize("size", SCREENS, ids=str)
@pytest.mark.parametrize("path", BUILT, ids=lambda path: str(path.relative_to(paths.REPORTS)))
def test_a_report_that_was_built_is_sound(visit, path, size):
    """The current content of reports/, if any; other reports may not have been built yet."""
    page = visit(path, *size, scripts=False)
    assert page.requested == []
    assert findings(page) == []
    assert dead_links(page, path) == []


def test_the_theme_is_the_reader_s_and_figures_have_a_dark_version(site, visit):
    page = visit(site / MADE["report"])
    light = page.evaluate("document.querySelector('figure img').currentSrc")
    for scheme, paper in (("light", "rgb(253, 252, 250)"), ("dark", "rgb(21, 24, 27)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    page.wait_for_function("light => document.querySelector('figure img').currentSrc !== light", arg=light)


def test_print_has_no_contents_and_no_code_but_that_of_tasks(site, visit):
    page = visit(site / MADE["report"])
    page.emulate_media(media="print")
    code = ".contents, details.source:not(.start), .skip"
    assert page.evaluate(f"[...document.querySelectorAll('{code}')].every(e => !e.checkVisibility())")
    assert page.locator("details.start pre").is_visible()  # the code to repair is part of the task
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown = "[...document.querySelectorAll('.exercise h3, figure, .callout, .section p')]"
    assert page.evaluate(f"{shown}.every(e => e.checkVisibility())")


def test_diagnostics_are_folded_until_they_are_opened(site, visit):
    page = visit(site / MADE["report"], scripts=False)
    assert page.get_by_text("What every run shows.").is_hidden()
    assert page.get_by_text("The end.").is_visible()
    page.locator(".contents.side a", has_text="Diagnostics").click()
    assert 0 <= page.locator("#diagnostics").bounding_box()["y"] < 900
    page.locator("#diagnostics").click()
    assert page.get_by_text("What every run shows.").is_visible()


BAD = {
    "scrolls sideways": "<p style='width: 2000px'>wide</p>",
    "heading skips a level": "<h4>deep</h4>",
    "second h1": "<h1>again</h1>",
    "broken picture": "<img alt='x' src='data:image/png;base64,AAAA'>",
    "no alt text": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='>",
    "id twice": "<p id='a'></p><p id='a'></p>",
    "label missing": "<section aria-labelledby='nowhere'></section>",
    "link without text": "<a href='x.html'> </a>",
    "dead link": "<a href='#nowhere'>go</a>",
    "contrast": "<p style='color: #999'>pale</p>",
    "no language": "",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_bad_is_found(visit, tmp_path, kind):
    lang = "" if kind == "no language" else " lang='en'"
    path = tmp_path / "page.html"
    head = "<meta name=viewport content='width=device-width'>"
    path.write_text(f"<!DOCTYPE html><html{lang}>{head}<h1>One</h1>{BAD[kind]}")
    assert {re.match("[^:]+", found)[0] for found in findings(visit(path, 390))} == {kind}


def test_requests_and_dead_files_are_found(visit, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<img src='https://example.org/a.png'><a href='gone.html'>a</a><a href='javascript:1'>b</a>")
    page = visit(path)
    assert page.requested == ["https://example.org/a.png"]
    assert dead_links(page, path) == ["gone.html", "javascript:1"]


def axe_source():
    """axe-core's script out of a Python package that brings it, the newer one first, or None."""
    found = filter(None, map(importlib.util.find_spec, ("axe_playwright_python", "axe_core_python")))
    scripts = [script for one in found for script in Path(one.origin).parent.glob("axe.min.js")]
    return scripts[0].read_text(encoding="utf-8") if scripts else None


needs_axe = pytest.mark.skipif(axe_source() is None, reason="axe-core is not installed: pip install axe-core-python")


def serious(page):
    """What axe calls serious or critical on a page with everything unfolded."""
    findings(page)  # unfolds
    page.evaluate(axe_source() + "; 0")
    run = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'], resultTypes: ['violations']})"
    violations = page.evaluate(run)["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in violations
            if one["impact"] in ("serious", "critical")]  # fmt: skip


@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", MADE)
def test_axe_finds_nothing_serious(site, visit, name, dark):
    assert serious(visit(site / MADE[name], dark=dark)) == []


@needs_axe
@pytest.mark.parametrize("path", BUILT, ids=lambda path: str(path.relative_to(paths.REPORTS)))
def test_axe_finds_nothing_serious_in_a_report_that_was_built(visit, path):
    assert serious(visit(path)) == []


@needs_axe
def test_axe_finds_what_is_bad(visit, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><html><h1>One</h1>{BAD['no alt text']}{BAD['contrast']}")
    assert {kind for kind, _ in serious(visit(path))} >= {"image-alt", "color-contrast", "html-has-lang"}
