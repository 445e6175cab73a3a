"""Write what README.md and docs/ say from the code, the course's contents and the results.

python -m course.documents     (`make figures` does it too)

`tests/test_docs.py` fails when a page is not what this module would write.
"""

import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import nbformat
import typer

from course import exercises
from course.contents import read_contents
from course.reports.duration import read_record
from course.reports.result import STAGES, limits, show
from imgcls import paths
from imgcls.cli import application
from imgcls.files import write
from imgcls.messages import format_duration

KINDS = {"default": "generated", "real": "photographs"}  # the images of a profile
CLI_HEAD = """# The command line

<!-- Made by `python -m course.documents` from the help texts; change those instead. -->

`imgcls COMMAND --help` prints the same text in the terminal. In a checkout the program is `.venv/bin/imgcls`;
`python -m imgcls` is the same. [own-data.md](own-data.md) shows the commands one after the other on a folder of
photographs.

Results are printed on standard output, notes and warnings on standard error. The exit status is 0 on success and 2 for
an error, which is explained in one line; `--traceback` shows where it arose. `predict` also returns 1 if some images
were not classified, and `doctor` if it finds a problem.
"""
VARIABLES = """
## Environment variables

| variable | meaning |
| :--- | :--- |
| `IMGCLS_ROOT` | Folder for `build/`, `data/` and `reports/`; default: the checkout, or the user's data folder. |
| `IMGCLS_DEVICE` | As `--device`: cpu, cuda, cuda:1 or mps. |
| `IMGCLS_PRECISION` | Force float32, bfloat16 or float16; default: what the hardware computes fast. |
| `IMGCLS_TRACEBACK` | As `--traceback`: 1 shows where an error arose. |
| `OMP_NUM_THREADS` | Number of threads; default: all cores. |
"""


def command_line() -> str:
    """docs/cli.md: every command with its description, its examples and a table of its arguments and options."""
    root = typer.main.get_command(application())
    parts = [CLI_HEAD, *(f"- [`{name}`](#{_anchor(name)}): {_first(one)}\n" for name, one in _commands(root))]
    parts[1] = "\n" + parts[1]
    return "".join([*parts, *(_section(name, one) for name, one in _commands(root)), VARIABLES])


def _commands(group: Any, before: str = "imgcls") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{before} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before} {name}")


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _first(command: Any) -> str:
    return inspect.cleandoc(command.help).partition("\n\n")[0].replace("\n", " ")


def _section(name: str, command: Any) -> str:
    """Heading, paragraphs, examples (after the backspace of the help text) and the table of one command."""
    text, _, examples = inspect.cleandoc(command.help).partition("\b\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    section = f"\n## {name}\n\n" + "\n\n".join(map(_escaped, paragraphs)) + "\n"
    if examples:
        section += f"\n```\n{inspect.cleandoc(examples)}\n```\n"
    context, rows = typer.Context(command, info_name=name), []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            names = re.sub(r"<list\[(\w+)\]>|<(\w+) range>", r"<\1\2>", record[0])
            meaning = re.sub(r"  \[(.*)\]$", r" (\1)", record[1]).replace("x>=", "at least ")
            rows.append(f"| `{names}` | {_escaped(meaning)} |\n")
    return section + ("\n| argument or option | meaning |\n| :--- | :--- |\n" + "".join(rows) if rows else "")


def _escaped(text: str) -> str:
    """Text whose stars and bars are not Markdown."""
    return text.replace("|", "\\|").replace("*", "\\*")


REFERENCES_HEAD = """# References

<!-- Made by `python -m course.documents` from notebooks/references.toml; change that file instead. -->

The works behind every method of the course. A notebook that names one of the methods links a work of it under "Further
reading", and a test finds a method without a link.
"""


def references() -> str:
    """docs/references.md: every work with its methods, below the headings that are comments of the file."""
    source = (paths.NOTEBOOKS / "references.toml").read_text(encoding="utf-8")
    works, parts = tomllib.loads(source), [REFERENCES_HEAD]
    for heading, key in re.findall(r"^# -{10,} (.+)$|^\[([\w-]+)\]$", source, flags=re.M):
        if heading:
            parts.append(f"\n## {heading[0].upper()}{heading[1:]}\n\n")
        else:
            work = works[key]
            phrases = [one.lower() for one in work["methods"]]
            short = [one for one in work["methods"] if not any(p in one.lower() and p != one.lower() for p in phrases)]
            methods = f" ({', '.join(short)})" if short else ""
            parts.append(f"- {work['authors']} {work['year']}, [{work['title']}]({work['url']}){methods}\n")
    return "".join(parts)


def course_table() -> str:
    """One row a notebook: link, question, concepts, time to work through it, time of its code, exercises."""
    measured = read_record().get("default", {})
    rows = [
        "| notebook | question | concepts | work | run | exercises |",
        "| :--- | :--- | :--- | ---: | ---: | ---: |",
    ]
    for one in read_contents().values():
        path = paths.NOTEBOOKS / f"{one.name}.ipynb"
        count = len(exercises.find(nbformat.read(path, as_version=4).cells))
        run = format_duration(measured[one.name]["seconds"]) if one.name in measured else ""
        link = f"[{one.number} {one.title}](notebooks/{path.name})"
        rows.append(f"| {link} | {one.question} | {', '.join(one.concepts)} | {one.minutes} min | {run} | {count} |")
    return "\n".join(rows)


def findings_table() -> str:
    """The claim of each case in `figures/results.json` that has values at most stages, and the first of several."""
    results = json.loads((paths.FIGURES / "results.json").read_text(encoding="utf-8"))
    header = ["case", "images", "what", *STAGES.values()]
    rows = [f"| {' | '.join(header)} |", "| :--- | :--- | :--- |" + " ---: |" * len(STAGES)]
    cases = {name for profile in KINDS for name in results.get(profile, {})} - {"00_start_here"}  # it audits no report
    for name in sorted(cases):
        for profile, kind in KINDS.items():
            claims = results.get(profile, {}).get(name, {}).get("claims", [])
            claim = max((one for one in claims if one.get("claimed") is not None), key=_stages, default=None)
            if claim:
                cells = (name[:2], kind, _escaped(claim["what"]), *(_value(claim, stage) for stage in STAGES))
                rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _stages(claim: Mapping[str, Any]) -> tuple[int, bool, bool]:
    """Number of stages with a value, whether the last is one of them, and whether there are intervals."""
    known = sum(claim.get(stage) is not None for stage in STAGES)
    return known, claim.get("best") is not None, bool(claim.get("intervals"))


def _value(claim: Mapping[str, Any], stage: str) -> str:
    """A value with its interval; empty where there is none."""
    if claim.get(stage) is None:
        return ""
    interval = limits(claim, stage, ", ")
    return show(claim[stage], claim.get("unit")) + (f" [{interval}]" if interval else "")


def readme() -> str:
    """README.md with its tables made anew, each between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: a pair of marks is missing.
    """
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    for name, make in {"course": course_table, "findings": findings_table}.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.S)
        if not mark.search(text):
            raise ValueError(f"README.md has no part between <!-- {name} --> and <!-- end of {name} -->")
        table = make()
        text = mark.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)
    return text


PAGES = {"README.md": readme, "docs/cli.md": command_line, "docs/references.md": references}


def write_documents() -> None:
    """Bring the pages up to date."""
    for page, made in PAGES.items():
        write(paths.ROOT / page, made())


if __name__ == "__main__":
    write_documents()
