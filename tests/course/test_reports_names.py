"""Names of classes and files reach a report as text: none becomes markup, and none keeps the report from being made."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from test_reports import assert_self_contained, cell, figure, make_result, render, tree

from course.reports.markup import Slugs, inline, markdown
from course.reports.result import _table, literal
from imgcls.messages import printable

__all__ = ["tree"]  # a fixture
NAMES = [
    "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "![x](x.png)", "*a*", "_b_", "a|b", "`c`", "``d`",
    "$1_$5", r"\frac", "end\\", "<script>alert(1)</script>", "&lt;", "# h", "1. x", "- y", ": z", "~~s~~",
    "https://a.b/c", "two\nlines", "\ue0000\ue001", "</code>", "猫",
]  # fmt: skip


def shown(html):
    return BeautifulSoup(html, "html.parser").get_text().replace("\xa0", " ")


@pytest.mark.parametrize("name", NAMES)
def test_an_escaped_name_is_read_as_it_is(name):
    assert BeautifulSoup(inline(literal(name)), "html.parser").find_all(True) == []
    assert shown(inline(literal(name))) == printable(name)
    assert shown(inline(f"Of {literal(name)}, **3**.")) == f"Of {printable(name)}, 3."


@pytest.mark.parametrize("name", NAMES)
def test_an_escaped_name_fills_its_cell_of_a_table(name):
    rows = [[literal(name), f"<code>{literal(name)}</code>", "end"]]
    page = BeautifulSoup(markdown(_table(["a", "b", "c"], rows), Slugs(), from_results=True)[0], "html.parser")
    assert [one.get_text() for one in page.find_all("td")] == [printable(name), printable(name), "end"]


@given(st.text(st.sampled_from("<>[]()!*_|`$\\&;#-+.:~=\"'/@ax1 {}^"), min_size=1, max_size=12))
def test_no_escaped_text_becomes_markup(name):
    assert shown(inline(f"x{literal(name)}x")) == f"x{name}x"


@pytest.mark.parametrize("name", NAMES)
def test_a_report_is_made_whole_where_a_name_was_not_escaped(tree, name):
    """HTML and pictures in the Markdown of a cell's output are text, and so in captions, question and answer."""
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": f"Of {name}, 3."}}
    frame = {"text/html": pd.DataFrame({name: [name]}).to_html(), "text/plain": name}
    table = {"output_type": "display_data", "metadata": {}, "data": frame}
    outputs = [output, table, figure(alt=f"Of {name}.", caption=f"Of {name}.")]
    page = assert_self_contained(render(tree, cell("show()", outputs=outputs), answer=f"The best is {name}."))
    assert len(page.all("img")) == 1
    assert not [link for link in page.all("a") if "javascript" in link.get("href", "")]


def test_marks_of_measured_times_stay():
    assert inline('took <span class="time">3 s</span> <b>') == 'took <span class="time">3 s</span> &lt;b&gt;'


def test_the_provenance_names_every_class_and_parameter(tree):
    result = make_result()
    result.content["data"]["classes"] = ["<b>", "a|b", "$1_$5"]
    result.content["parameters"] = {"data": "photos `$1` a|b <i>"}
    html = markdown(result.provenance().data, Slugs(), from_results=True)[0]
    cells = [one.get_text() for one in BeautifulSoup(html, "html.parser").find_all("td")]
    assert "3: <b>, a|b, $1_$5" in cells
    assert "'photos `$1` a|b <i>'" in cells
