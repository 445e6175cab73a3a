"""Pictures and numbers of the reports that the repository keeps for the README."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course.reports import index
from course.reports.files import Files
from course.reports.parameters import notebooks
from imgcls import paths
from imgcls.files import write

RESULTS = "results.json"


def write_figures(profile: str) -> list[Path]:
    """Copy pictures of every finished report to `figures/` and its numbers to `figures/results.json`.

    The cover of a report becomes `figures/NAME.png`. Profiles other than default prefix their name, as in
    `real_NAME.png`. Files of unfinished reports and of other profiles stay.
    """
    entries = [index.entry(Files(name, profile)) for name in notebooks()]
    finished = {entry["name"]: entry["result"] for entry in entries if "result" in entry}
    pictures, prefix = {}, "" if profile == "default" else f"{profile}_"
    for name, result in finished.items():
        if picture := index.cover(Files(name, profile), result):
            pictures[prefix + name] = picture[0]
    if not finished:
        return []
    paths.FIGURES.mkdir(exist_ok=True)
    written = [Path(shutil.copyfile(path, paths.FIGURES / f"{name}.png")) for name, path in pictures.items()]
    return [*written, _write_numbers(profile, finished)]


def extract(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a result that the README may quote."""
    data = result["data"]
    about = {key: data[key] for key in ("name", "kind", "fingerprint", "train", "val", "test")}
    environment = {key: result["environment"][key] for key in ("device", "threads", "precision", "commit", "dirty")}
    quoted = {key: result[key] for key in ("question", "answer", "seeds", "headline", "claims")}
    tables = {"tables": result["tables"]} if "tables" in result else {}
    about |= {"classes": len(data["classes"]), "skipped": len(data["skipped"])}
    about["images"] = about["train"] + about["val"] + about["test"]
    return {"seconds": result["seconds"], "environment": environment, "data": about, **quoted, **tables}


def _write_numbers(profile: str, finished: Mapping[str, Mapping[str, Any]]) -> Path:
    path = paths.FIGURES / RESULTS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[profile] = known.get(profile, {}) | {name: extract(result) for name, result in finished.items()}
    known = {key: dict(sorted(known[key].items())) for key in sorted(known)}
    return write(path, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
