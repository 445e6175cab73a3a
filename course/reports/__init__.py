"""Run a notebook, render it to one self-contained page, collate the results.

Inside a notebook: `Result` collects what was found, `say` writes prose from it, `took` writes a duration in that prose,
and `shell` runs a command. Outside: `python -m course.reports`.
Importing this package loads neither torch nor Jupyter, so that a refused parameter costs no waiting.
"""

from course.reports.commands import shell
from course.reports.result import Result, display_markdown, elapsed, timed

__all__ = ["Result", "display_markdown", "elapsed", "shell", "timed"]
