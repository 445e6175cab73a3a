"""Which file of a report lies where."""

from dataclasses import dataclass
from pathlib import Path

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
        """Folder of what execution leaves: executed notebooks, results, logs."""
        return paths.BUILD / "executed" / self.profile

    @property
    def executed(self) -> Path:
        """The executed notebook; it is there only if the run succeeded."""
        return self.build / f"{self.name}.ipynb"

    @property
    def running(self) -> Path:
        """The notebook while it runs, and after a run that failed."""
        return self.build / f"{self.name}.running.ipynb"

    @property
    def result(self) -> Path:
        """What the notebook wrote about itself, run token included."""
        return self.build / f"{self.name}.json"

    @property
    def inputs(self) -> Path:
        """Parameters and data of the last accepted request; its time changes only when they do."""
        return self.build / f"{self.name}.inputs"

    @property
    def log(self) -> Path:
        """Standard output and error of the kernel, and the time of each cell."""
        return self.build / f"{self.name}.log"

    @property
    def folder(self) -> Path:
        """Where readers look: `reports/` for the default profile, `reports/<profile>/` for any other."""
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
        """The page that says why there is no report."""
        return self.folder / f"{self.name}.failed.html"

    def figures(self) -> list[Path]:
        """Pictures written beside the report by its last rendering."""
        return sorted((self.folder / "figures").glob(f"{self.name}-*"))

    def withdraw(self) -> None:
        """Take the old report out of the readers' sight; page and result stay under `build/…/previous/`."""
        for path in (self.html, self.json):
            if path.exists():
                previous = self.build / "previous" / path.name
                previous.parent.mkdir(parents=True, exist_ok=True)
                path.replace(previous)
        for figure in self.figures():
            figure.unlink()
