"""`imgcls predict`: what a trained model says about pictures that nobody has labelled."""

import csv
import difflib
import glob
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from imgcls.cli.common import check_choice, note
from imgcls.data import EXTENSIONS, Split, decoding, load_image, pictures
from imgcls.data.decoding import Undecodable
from imgcls.evaluation import Predictions, predict_checked
from imgcls.models import open_run, temperature_of
from imgcls.progress import Progress

FORMATS = ("table", "csv", "json")
STDIN = "-"
COLUMNS = ("image", "class", "confidence", "runner_up", "runner_up_confidence")
BINARY = (b"RIFF", *(magic for magic, _ in decoding.SIGNATURES))  # no list of paths begins like that
PROGRESS_FROM = 300  # pictures; fewer are answered before anybody wonders
READERS = 4  # threads that decode; each may take decoding.MAX_MEMORY

Item = tuple[str, str | bytes | Undecodable]  # how a picture is called, and where it is, or why nowhere


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run, with weights.safetensors and card.json.")],
    images: Annotated[
        list[str], typer.Argument(help="Picture files, folders of them, patterns, or - for standard input.")
    ],
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
    explain: Annotated[Path | None, typer.Option(help="Folder that gets a Grad-CAM overlay of every picture.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures that the model is asked about at a time.")] = 64,
) -> None:
    """Say for every picture which class it is, how sure the model is, and which class comes next.

    Folders are searched at any depth, hidden files aside; - reads paths, one a line, or one picture. Confidences are
    calibrated by the temperature on the run's card. No file is ever written over: an overlay whose name is taken gets
    another. The exit status is 0 if every picture was answered, 1 if some were not, 2 if none was.

    \b
      imgcls predict build/runs/photos-resnet18 holiday.jpg albums/
      imgcls predict build/runs/photos-resnet18 "albums/**/*.jpg" --format csv > answers.csv
      find albums -newer answers.csv | imgcls predict build/runs/photos-resnet18 - --explain overlays
    """  # noqa: D301 - \b keeps the lines of the examples
    check_choice("format", format, FORMATS)
    if batch_size < 1:
        raise ValueError(f"batch-size must be at least 1, got {batch_size}")
    if explain is not None and explain.exists() and not explain.is_dir():
        raise ValueError(f"--explain {explain} is a file; name a folder, which is made if need be")
    model, card = open_run(run)
    temperature = temperature_of(card)
    if len(card["classes"]) < 2:
        raise ValueError(f"the model in {run} knows {card['classes']} alone, so there is nothing to decide")
    items = _find(images)

    layout = _layout(format, [name for name, _ in items], card["classes"])
    unanswered: list[dict[str, Any]] = []
    done = 0
    # Rows on a terminal are progress enough, and the two would write over one another.
    shown = len(items) > PROGRESS_FROM and not sys.stdout.isatty()
    with Progress(len(items), show=shown) as progress, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # remarks about odd metadata
        for batch in _decoded(items, batch_size, card["image_size"], card["channels"]):
            records = _answers(model, batch, card["classes"], temperature, explain)
            typer.echo(layout(records, done == 0), nl=False)
            unanswered += [record for record in records if "error" in record]
            done += len(batch)
            progress.update(done, f"{done:,} of {len(items):,} pictures")
        if format == "json":
            typer.echo("\n]")
        progress.finish(f"{done - len(unanswered):,} of {done:,} pictures answered")
    for record in unanswered:
        note(f"{_printable(record['image'])}: {record['error']}", "not answered")
    if len(unanswered) == done:
        raise ValueError(f"none of the {done:,} pictures could be answered, for the reasons above")
    if unanswered:
        note(f"{len(unanswered):,} of {done:,} pictures were not answered")
        raise typer.Exit(1)


# ------------------------------------------------------------------ which pictures
def _find(arguments: Iterable[str]) -> list[Item]:
    """The pictures that are meant, each once, in the order in which they were named.

    Raises:
        ValueError: there is none; the message says what was looked for.
    """
    found: dict[str, Item] = {}
    for argument in arguments:
        for name, source in _standard_input() if argument == STDIN else _expand(argument):
            key = os.path.abspath(source) if isinstance(source, str) else name  # noqa: PTH100 - pathlib keeps ".."
            found.setdefault(key, (name, source))
    items = list(found.values())
    if all(isinstance(source, Undecodable) for _, source in items):
        tried = [f"{_printable(name)!r}: {source.reason}{_closest(name)}" for name, source in items[:3]]
        tried += [f"and {len(items) - 3:,} more"] if len(items) > 3 else []
        raise ValueError(
            f"no picture found ({'; '.join(tried)}); name files, folders, patterns such as 'albums/*.jpg', "
            "or - for standard input"
        )
    return items


def _standard_input() -> list[Item]:
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if b"\0" in data[:32] or data.startswith(BINARY):
        return [(STDIN, data)]
    lines = [line.removesuffix("\r") for line in os.fsdecode(data).split("\n")]
    items = [item for line in lines if line for item in _expand(line)]
    return items or [(STDIN, Undecodable("there is nothing on standard input"))]


def _expand(argument: str) -> list[Item]:
    """What one argument stands for: a file, a folder, or a pattern where the shell has not done it."""
    path = os.path.expanduser(argument)  # noqa: PTH111 - pathlib raises where there is no home
    if os.path.isdir(path):  # noqa: PTH112 - False for a name that is too long, where pathlib raises
        nothing = Undecodable(f"no picture in this folder ({', '.join(EXTENSIONS)})")
        return _files(path) or [(argument, nothing)]
    if os.path.lexists(path):
        return [(argument, path)]
    if not glob.has_magic(path):
        return [(argument, Undecodable("no such file or folder"))]
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - pathlib takes no absolute patterns
    return [item for match in matches for item in _files(match)] or [(argument, Undecodable("no file fits"))]


def _files(path: str) -> list[Item]:
    files = pictures(Path(path)) if os.path.isdir(path) else [path]  # noqa: PTH112
    return [(str(file), str(file)) for file in files]


def _closest(name: str) -> str:
    folder, last = os.path.split(name)
    folder = folder or "."
    if os.path.lexists(name) or not os.path.isdir(folder):  # noqa: PTH112
        return ""
    close = difflib.get_close_matches(last, os.listdir(folder), n=1)  # noqa: PTH208
    return f", did you mean {_printable(close[0])!r}?" if close else ""


# ------------------------------------------------------------------ answers
def _decoded(
    items: Sequence[Item], batch_size: int, image_size: int, channels: int
) -> Iterator[list[tuple[str, Tensor | str]]]:
    """Names with uint8 (C, H, W) or the reason for none; a batch is decoded while the one before it is answered."""

    def read(source: str | bytes | Undecodable) -> Tensor | str:
        try:
            if isinstance(source, Undecodable):
                raise source
            return load_image(source, image_size, channels)
        except Undecodable as error:
            return error.reason

    with ThreadPoolExecutor(READERS) as pool:
        ahead: list[tuple[str, Future]] = []
        for start in range(0, len(items), batch_size):
            jobs = [(name, pool.submit(read, source)) for name, source in items[start : start + batch_size]]
            if ahead:
                yield [(name, job.result()) for name, job in ahead]
            ahead = jobs
        yield [(name, job.result()) for name, job in ahead]


def _answers(
    model: nn.Module,
    batch: Sequence[tuple[str, Tensor | str]],
    classes: Sequence[str],
    temperature: float,
    overlays: Path | None,
) -> list[dict[str, Any]]:
    """One record a picture, in their order: COLUMNS and all probabilities, or the error."""
    named = {name: pixels for name, pixels in batch if isinstance(pixels, Tensor)}
    answered: dict[str, dict[str, Any]] = {}
    if named:
        images = torch.stack(list(named.values()))  # (N, C, H, W)
        split = Split(images, torch.zeros(len(images), dtype=torch.int64), None, tuple(named), tuple(classes))
        answers = predict_checked(model, split).with_temperature(temperature)
        # Stable, so that the first of equal classes wins as in Predictions.predicted.
        best = answers.logits.argsort(dim=1, descending=True, stable=True)[:, :2].tolist()
        for name, (first, second), shares in zip(named, best, answers.probabilities.tolist(), strict=True):
            values = (name, classes[first], shares[first], classes[second], shares[second])
            answered[name] = dict(zip(COLUMNS, values, strict=True))
            answered[name]["probabilities"] = dict(zip(classes, shares, strict=True))
        if overlays:
            _explain(model, images, answers, overlays, answered)
    return [answered.get(name) or {"image": name, "error": pixels} for name, pixels in batch]


def _explain(
    model: nn.Module, images: Tensor, answers: Predictions, folder: Path, records: dict[str, dict[str, Any]]
) -> None:
    """Draw what decided about each picture, and note the file in its record."""
    from imgcls import explain, plots  # seconds to import, and seldom wanted

    maps = explain.grad_cam(model, images, answers.predicted, batch_size=len(images))
    for image, cam, (name, record) in zip(images, maps, records.items(), strict=True):
        title = f"{record['class']}, {100 * record['confidence']:.0f} %"
        record["overlay"] = str(
            plots.save(plots.cam_grid(image[None], cam[None], [title], columns=1), _free(folder, name))
        )


def _free(folder: Path, name: str) -> Path:
    """A file in the folder that does not exist yet, called as the picture is, and where need be as its folder too."""
    path = Path("stdin" if name == STDIN else name)
    stem, above = path.stem, path.absolute().parent.name
    candidates = chain([stem, f"{above}-{stem}"], (f"{above}-{stem}-{i}" for i in count(2)))
    return next(file for one in candidates if not os.path.lexists(file := folder / f"{one}.png"))


# ------------------------------------------------------------------ what is printed
def _layout(format: str, names: Sequence[str], classes: Sequence[str]) -> Callable[[list[dict], bool], str | bytes]:
    """How records become text; the second argument says that they are the first."""
    if format == "csv":
        return _csv
    if format == "json":
        return _json
    wide = max(len("runner-up"), *map(len, classes))
    room = shutil.get_terminal_size().columns - 2 * (wide + len("confidence")) - 8
    return partial(_table, image=min(max(len("image"), *map(len, names)), max(room, 16)), wide=wide)


def _table(records: list[dict[str, Any]], first: bool, image: int, wide: int) -> str:
    rows = [("image", "class", "confidence", "runner-up", "confidence")] if first else []
    for record in records:
        if "error" not in record:
            name, top, share, second, rest = (record[key] for key in COLUMNS)
            rows.append((_shortened(_printable(name), image), top, _per_cent(share), second, _per_cent(rest)))
    return "".join(f"{a:<{image}}  {b:<{wide}}  {c:>10}  {d:<{wide}}  {e:>10}\n" for a, b, c, d, e in rows)


def _csv(records: list[dict[str, Any]], first: bool) -> bytes:
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    if first:
        rows.writeheader()
    for record in records:
        if "error" not in record:
            shares = {key: f"{record[key]:.6f}" for key in COLUMNS if key.endswith("confidence")}
            rows.writerow(record | shares)
    return text.getvalue().encode("utf-8", "surrogateescape")  # names that are no text stay what they are


def _json(records: list[dict[str, Any]], first: bool) -> str:
    return ("[\n" if first else ",\n") + ",\n".join(map(json.dumps, records))


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _shortened(text: str, width: int) -> str:
    """At most so many characters, "…" in the place of the middle; the end, which tells files apart, keeps more."""
    head = (width - 1) // 3
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _printable(text: str) -> str:
    """Without the line breaks, escape sequences and broken characters that a file name may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
