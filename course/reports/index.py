"""The index of all reports of a profile, and the page that replaces a report that failed."""

import html
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from course.contents import read_contents
from course.reports import duration, pages
from course.reports.files import Files, read_cells
from course.reports.markup import data_uri, highlighted, plain
from course.reports.parameters import notebooks
from course.reports.result import validate
from imgcls import paths
from imgcls.files import lock, write

UNFINISHED = "the run has not finished: it is still running, or its process was killed"
MAX_BYTES = 300_000
QUALITIES = (82, 70, 60, 50, 40, 30, 20)
_REASON = re.compile(r'<meta name="failure" content="([^"]*)">')


def write_failure(files: Files, reason: str, **evidence: Any) -> None:
    """Write `NAME.failed.html` with the reason and the evidence.

    Args:
        files: Of the notebook.
        reason: One line, also shown in the index.
        evidence: Number of the failed `cell`, its `section`, `source` and `traceback`, its last `outputs`, and the end
            of the `log`.
    """
    texts = {key: plain(evidence.get(key, "")) for key in ("section", "traceback", "outputs", "log")}
    content = pages.page(
        "failed.html.j2",
        name=files.name,
        profile=files.profile,
        reason=plain(reason),
        cell=evidence.get("cell"),
        source=highlighted(evidence.get("source", "")),
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        **texts,
    )
    write(files.failed, content)


def write_index(profile: str = "default") -> Path:
    """Write `index.html` with every notebook of the project, whatever its state, and return the path.

    The quality of its pictures, not their size, is lowered until the page has at most 300 kB.
    """
    target = Files("index", profile).html
    with lock(paths.BUILD / "executed" / ".index"):
        chapters, recorded = read_contents(), duration.read_record().get(profile, {})
        entries = [entry(Files(name, profile)) for name in notebooks()]
        for one in entries:
            one["chapter"] = chapters.get(one["name"])
            run = one.get("result") or recorded.get(one["name"])  # the last run here, or else the one on record
            one["seconds"] = run["seconds"] if run else None
        results = [entry["result"] for entry in entries if "result" in entry]
        about = {
            "seconds": sum(result["seconds"] for result in results),
            "machines": sorted({pages.computer(result["environment"]) for result in results}),
            "commits": sorted({pages.commit(result["environment"]) for result in results}),
        }
        for quality in QUALITIES:
            for one in entries:
                one["picture"] = _picture(Files(one["name"], profile), one.get("result"), quality)
            content = pages.page("index.html.j2", profile=profile, entries=entries, about=about)
            if len(content.encode()) <= MAX_BYTES:
                break
        write(target, content)
    return target


def entry(files: Files) -> dict[str, Any]:
    """Name, title, state, reason of failure and, if there is one, result of a notebook."""
    found: dict[str, Any] = {"name": files.name, "title": title(files), "state": "not built", "reason": ""}
    if files.failed.exists():
        match = _REASON.search(files.failed.read_text(encoding="utf-8"))
        reason = html.unescape(match[1]) if match else "unknown"
        return found | {"state": "unfinished" if reason == UNFINISHED else "failed", "reason": reason}
    if not (files.html.exists() and files.json.exists()):
        return found
    try:
        result = json.loads(files.json.read_text(encoding="utf-8"))
        problems = validate(result, files.name)
    except ValueError as error:
        problems = [str(error)]
    if problems:
        return found | {"state": "failed", "reason": f"{files.json.name} is not valid: {problems[0]}"}
    made = (files.executed if files.executed.exists() else files.json).stat().st_mtime
    stale = files.notebook.stat().st_mtime > made
    return found | {"state": "stale" if stale else "done", "result": result}


def title(files: Files) -> str:
    """Title of a notebook in the table of contents; if it is not in there, its first heading, or its name."""
    if chapter := read_contents().get(files.name):
        return chapter.title
    for cell in read_cells(files.notebook):
        heading = re.search(r"^# (.+)", cell["source"], re.MULTILINE)
        if heading and cell["cell_type"] == "markdown":
            return re.sub(r"[`*_$]", "", heading[1]).strip()
    return files.name[3:].replace("_", " ").capitalize()


def cover(files: Files, result: dict[str, Any]) -> tuple[Path, str] | None:
    """The picture of a report and its description: the one marked as cover, or the first."""
    candidates = []
    for relative in result["figures"]:
        path = files.folder / relative
        if path.suffix in (".png", ".jpg", ".gif", ".webp") and path.exists():
            with Image.open(path) as picture:
                about = picture.info.get("Description") or f"A figure of {files.name}"
                candidates.append((not picture.info.get("Cover"), path, about))
    return min(candidates, key=lambda candidate: candidate[0])[1:] if candidates else None


def _picture(files: Files, result: dict[str, Any] | None, quality: int) -> dict[str, Any] | None:
    """The cover as a thumbnail for the index, with its dark version."""
    if result is None or (found := cover(files, result)) is None:
        return None
    path, alt = found
    source, size = _thumbnail(path, quality)
    dark = path.with_suffix(".dark.png")
    twin = _thumbnail(dark, quality)[0] if dark.exists() else ""
    with Image.open(path) as picture:
        timed = "Timed" in picture.info
    return {"source": source, "size": size, "alt": alt, "dark": twin, "timed": timed}


def _thumbnail(path: Path, quality: int) -> tuple[str, tuple[int, int]]:
    """A picture as a small data URI, and its size in pixels."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGBA")
    small.thumbnail((608, 456), Image.Resampling.LANCZOS)  # twice the size on the page, for dense screens
    small.save(buffer, "WEBP", quality=quality, method=4)
    return data_uri(buffer.getvalue(), "image/webp"), small.size
