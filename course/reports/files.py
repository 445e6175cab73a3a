"""Where the files of a report are."""

import json
from pathlib import Path
from typing import Any

from imgcls import paths


class Files:
    """Every path that belongs to one notebook under one profile."""

    def __init__(self, name: str, profile: str = "default") -> None:
        self.name, self.profile = name, profile
        self.notebook = paths.NOTEBOOKS / f"{name}.ipynb"  # the source, outputs stripped

        self.build = paths.BUILD / "executed" / profile
        self.inputs = self.build / f"{name}.inputs"  # of the last valid request; its time changes only with them
        self.running = self.build / f"{name}.running.ipynb"  # the notebook during a run, and after one that failed
        self.executed = self.build / f"{name}.ipynb"  # the executed notebook; exists only if the run succeeded
        self.result = self.build / f"{name}.json"  # as the notebook wrote it, with the token of the run
        self.log = self.build / f"{name}.log"  # output and errors of the kernel, and the time of each cell

        self.folder = paths.REPORTS if profile == "default" else paths.REPORTS / profile
        self.html = self.folder / f"{name}.html"  # the report
        self.json = self.folder / f"{name}.json"  # its result
        self.failed = self.folder / f"{name}.failed.html"  # replaces a report that failed

    def figures(self) -> list[Path]:
        """Pictures beside the report, written with it."""
        return sorted((self.folder / "figures").glob(f"{self.name}-*"))

    def withdraw(self) -> None:
        """Move the old page and result to `build/…/previous/` and remove its pictures."""
        for path in (self.html, self.json):
            if path.exists():
                previous = self.build / "previous" / path.name
                previous.parent.mkdir(parents=True, exist_ok=True)
                path.replace(previous)
        for figure in self.figures():
            figure.unlink()


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Cells of a notebook, each source as one text; without nbformat, whose import takes half a second."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]
