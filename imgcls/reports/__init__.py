"""Run a notebook, render it to one self-contained page, collate the results.

Inside a notebook: `Result` collects what was found and `say` writes prose from it. Outside: `python -m imgcls.reports`.
Importing this package loads neither torch nor Jupyter, so that a refused parameter costs no waiting.
"""

from imgcls.reports.result import Result, say

__all__ = ["Result", "say"]
