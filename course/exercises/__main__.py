"""Write the notebooks without solutions, and grade what students hand in."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from imgcls import paths

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def write(to: Annotated[Path | None, typer.Option(help="Folder; default: build/exercises.")] = None) -> None:
    """Write the notebooks without the solutions of the exercises."""
    from course.exercises import write_editions

    for path in write_editions(to):
        print(path)


@app.command()
def grade(
    files: Annotated[list[Path], typer.Argument(help="Notebooks that were handed in, or folders with them.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Time limit for one answer, in seconds.")] = 60,
    jobs: Annotated[int, typer.Option(min=1, help="Answers that run at the same time.")] = max(
        1, (os.cpu_count() or 2) // 2
    ),
    out: Annotated[Path | None, typer.Option(help="Also write the table as CSV to this file.")] = None,
) -> None:
    """Grade notebooks: a row for each person, a column for each exercise, and why points are missing.

    The person is the part of the file's name beside the notebook's (anna_05_cifar_ten.ipynb), or the name of the
    folder (anna/05_cifar_ten.ipynb).

    Example: python -m course.exercises grade handed-in/ --out grades.csv
    """
    from course.exercises import grading
    from imgcls.files import write as write_file

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several answers run at once; read when PyTorch is imported
    listed = grading.find_files(files)
    asked, people = grading.grade_files(listed, seconds, jobs, report=lambda line: print(line, file=sys.stderr))
    print(grading.to_text(asked, people), end="")
    if out is not None:
        write_file(out, "\ufeff" + grading.to_csv(asked, people))  # the mark tells Excel that it is UTF-8
        print(f"written to {out}", file=sys.stderr)


def main() -> None:
    """Run one command; exit 2 for an invalid request, 1 for a failure, 130 for an interruption."""
    from course.exercises.grading import GradingError

    try:
        paths.complete_environment()
        app()
    except GradingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
