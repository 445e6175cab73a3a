"""The pages of docs/: numbers have a source, generated pages are up to date, links and named tests exist."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from test_readme import BENCHMARKS, RESULTS, differences

from course import documents
from imgcls import paths

DOCS = paths.ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
GENERATED = {"cli.md", "references.md"}
TRACED = paths.ROOT / "tests" / "docs_numbers.yaml"
OTHERS = [paths.ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")]


@pytest.fixture(scope="module")
def results():
    known = json.loads(RESULTS.read_text(encoding="utf-8"))
    cases = {profile: {name[:2]: result for name, result in reports.items()} for profile, reports in known.items()}
    course = tomllib.loads((paths.NOTEBOOKS / "course.toml").read_text(encoding="utf-8"))
    times = {name: {"seconds": 60 * notebook["minutes"]} for name, notebook in course.items()}
    bench = {row["name"]: row for row in json.loads(BENCHMARKS.read_text(encoding="utf-8"))["rows"]}
    return cases | {"bench": bench, "course": times}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=lambda page: page.name)
def test_every_result_is_that_of_its_path(page, results):
    traced = yaml.safe_load(TRACED.read_text(encoding="utf-8"))
    found = differences(page.read_text(encoding="utf-8"), traced.get(page.name, {}), results)
    assert found == [], f"mend the page, or change {TRACED.name}"


def test_every_traced_page_exists():
    assert set(yaml.safe_load(TRACED.read_text(encoding="utf-8"))) <= {page.name for page in PAGES}


@pytest.mark.parametrize("name", documents.PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (paths.ROOT / name).read_text(encoding="utf-8") == documents.PAGES[name](), "run python -m course.documents"


# ------------------------------------------------------------------ links
def anchors(text):
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.M)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"`", "", heading)).strip().lower().replace(" ", "-") for heading in headings
    }


def dead_links(page):
    """Links of a page to files and headings that do not exist; addresses of the web are not looked up."""
    text = page.read_text(encoding="utf-8")
    found = []
    course = tomllib.loads((paths.NOTEBOOKS / "course.toml").read_text(encoding="utf-8"))
    plain = re.sub(r"```.*?```", "", text, flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)|^\[\w+\]: (\S+)", plain, flags=re.M):
        link = "".join(link)
        if re.match(r"https?://|mailto:", link) or Path(link).stem in course:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "b.md").write_text("# One `two` three\n")
    (tmp_path / "a.md").write_text(
        "[x](b.md) [x](b.md#one-two-three) [x](c.md) [x](b.md#four) [x](https://a.example)\n"
    )
    assert dead_links(tmp_path / "a.md") == ["c.md", "b.md#four"]


def test_the_index_lists_every_page():
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    assert listed == {page.name for page in PAGES} - {"README.md"}


# ------------------------------------------------------------------ promises
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def missing_tests(text):
    """Tests that a text names as `tests/FILE.py::test_name` and that are not defined there."""
    found = []
    for file, name in NAMED_TEST.findall(text):
        path = paths.ROOT / file
        body = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
        if name not in {node.name for node in body if isinstance(node, ast.FunctionDef)}:
            found.append(f"{file}::{name}")
    return found


def test_every_promise_has_a_test_that_exists():
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    promises = re.findall(r"^- (.*(?:\n  .*)*)", text, flags=re.M)
    assert len(promises) > 15
    assert [promise for promise in promises if not NAMED_TEST.search(promise)] == []
    assert missing_tests(text) == []


def test_a_missing_test_is_found():
    text = "`tests/test_docs.py::test_a_missing_test_is_found` `tests/test_docs.py::test_none` `tests/no.py::test_x`"
    assert missing_tests(text) == ["tests/test_docs.py::test_none", "tests/no.py::test_x"]


# ------------------------------------------------------------------ terms and notebooks
def test_every_notebook_is_introduced_by_the_glossary_and_the_instructors_page():
    course = tomllib.loads((paths.NOTEBOOKS / "course.toml").read_text(encoding="utf-8"))
    for page in ("glossary.md", "instructors.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert [name for name in course if f"notebook {name[:2]}" not in text.lower()] == [], page


def test_the_glossary_is_sorted_and_names_a_notebook_for_every_term():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+?)\*\*(.*(?:\n(?!\n).*)*)", text, flags=re.M)
    names = [term.casefold() for term, _ in terms]
    assert names == sorted(names)
    assert [term for term, meaning in terms if "notebook 0" not in meaning.lower()] == []


# ------------------------------------------------------------------ files of the repository
def test_the_citation_is_valid_cff():
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert (cited["cff-version"], cited["authors"]) == ("1.2.0", [{"name": "imgcls contributors"}])
    assert (str(cited["version"]), cited["license"]) == (project["version"], project["license"])


def test_issue_forms_are_valid():
    forms = sorted((paths.ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(ids) == len(set(ids))
        assert all("label" in part["attributes"] for part in form["body"] if part["type"] != "markdown")


def test_documented_variables_are_read_by_the_library():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (paths.ROOT / "imgcls").rglob("*.py"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in set(re.findall(r"IMGCLS_[A-Z]+", text)) if f'"{name}"' not in source] == []
