"""The table of contents: what it must hold, and that the notebooks are those that it lists."""

import re

import pytest

from course.contents import Chapter, read_contents
from imgcls import paths

FIRST = 'title = "A"\nquestion = "Why?"\nbefore = []\nconcepts = ["c"]\nminutes = 5\n'
SECOND = FIRST.replace("[]", '["00_a"]')


def write(tmp_path, text):
    file = tmp_path / "course.toml"
    file.write_text(text)
    return file


def test_chapters_are_read_in_their_order(tmp_path):
    chapters = read_contents(write(tmp_path, f"[00_a]\n{FIRST}[01_b]\n{SECOND}"))
    assert list(chapters) == ["00_a", "01_b"]
    assert chapters["01_b"] == Chapter("01_b", "A", "Why?", ("00_a",), ("c",), 5)
    assert chapters["01_b"].number == "01"
    assert read_contents(tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[01_b]\n{FIRST}[00_a]\n{FIRST}", "[00_a] comes after [01_b]"),
        (f"[00_a]\n{SECOND}", "[00_a] builds on '00_a', which is no chapter before it"),
        (
            f"[00_a]\n{FIRST}hours = 1\n",
            "[00_a] needs the keys title, question, before, concepts, minutes and no other",
        ),
        ("[00_a]\ntitle = 'A'\n", "[00_a] needs the keys"),
        (f"[00_a]\n{FIRST}".replace("minutes = 5", "minutes = 0"), "has the minutes 0, which is not a positive whole"),
        (f"[00_a]\n{FIRST}".replace("minutes = 5", "minutes = true"), "has the minutes True, which is not"),
        (f"[00_a]\n{FIRST}".replace('"Why?"', "3"), "has the question 3, which is not a text"),
        (f"[00_a]\n{FIRST}".replace('["c"]', '"c"'), "has the concepts 'c', which is not a list of texts"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_contents(write(tmp_path, text))


def test_the_course_lists_every_notebook():
    names = {path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")}
    assert names <= set(read_contents())
