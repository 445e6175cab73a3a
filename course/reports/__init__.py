"""Run a notebook, render it to one self-contained page, collate the results.

In a notebook, `Result` collects the results, `display_markdown` shows prose built from them, `literal` escapes names
from data for it, `elapsed` formats a measured duration and `shell` runs a command. On the command line:
`python -m course.reports`.
Importing this package loads neither torch nor Jupyter, so that an invalid parameter is reported at once.
"""

from course.reports.commands import shell
from course.reports.result import Result, display_markdown, elapsed, literal, mark_time

__all__ = ["Result", "display_markdown", "elapsed", "literal", "mark_time", "shell"]
