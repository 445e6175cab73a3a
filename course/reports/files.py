"""Where the files of a report are."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls import paths


@dataclass(frozen=True)
class Files:
    """Every path that belongs to one notebook under one profile."""

    name: str
    profile: str = "default"

    @property
    def notebook(self) -> Path:
        """The source, outputs stripped."""
        return paths.NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def build(self) -> Path:
        """Folder of executed notebooks, results and logs."""
        return paths.BUILD / "executed" / self.profile

    @property
    def executed(self) -> Path:
        """The executed notebook; it exists only if the run succeeded."""
        return self.build / f"{self.name}.ipynb"

    @property
    def running(self) -> Path:
        """The notebook during a run, and after one that failed."""
        return self.build / f"{self.name}.running.ipynb"

    @property
    def result(self) -> Path:
        """The result as the notebook wrote it, with the token of the run."""
        return self.build / f"{self.name}.json"

    @property
    def inputs(self) -> Path:
        """Parameters and data of the last valid request; its time changes only with them."""
        return self.build / f"{self.name}.inputs"

    @property
    def log(self) -> Path:
        """Standard output and error of the kernel, and the time of each cell."""
        return self.build / f"{self.name}.log"

    @property
    def folder(self) -> Path:
        """Folder of the pages: `reports/` for the default profile, `reports/<profile>/` for any other."""
        return paths.REPORTS if self.profile == "default" else paths.REPORTS / self.profile

    @property
    def html(self) -> Path:
        """The report."""
        return self.folder / f"{self.name}.html"

    @property
    def json(self) -> Path:
        """The result beside the report."""
        return self.folder / f"{self.name}.json"

    @property
    def failed(self) -> Path:
        """The page that replaces a report that failed."""
        return self.folder / f"{self.name}.failed.html"

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
