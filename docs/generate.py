"""Write the pages of docs/ that are made from the code: python docs/generate.py.

`tests/test_docs.py` fails when a page is not what this file would write.
"""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from imgcls.cli import application

DOCS = Path(__file__).resolve().parent
CLI_HEAD = """# The command line

<!-- Made by `python docs/generate.py` from the help texts; change those instead. -->

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

<!-- Made by `python docs/generate.py` from notebooks/references.toml; change that file instead. -->

The works behind every method of the course. A notebook that names one of the methods links a work of it under "Further
reading", and a test finds a method without a link.
"""


def references() -> str:
    """docs/references.md: every work with its methods, below the headings that are comments of the file."""
    source = (DOCS.parent / "notebooks" / "references.toml").read_text(encoding="utf-8")
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


PAGES = {"cli.md": command_line, "references.md": references}

if __name__ == "__main__":
    for page, made in PAGES.items():
        (DOCS / page).write_text(made(), encoding="utf-8")
