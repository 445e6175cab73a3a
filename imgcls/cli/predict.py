"""`imgcls predict`: classify image files with a trained model."""

from __future__ import annotations

import contextlib
import csv
import glob
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls.cli.common import Device, check_choice, note
from imgcls.files import open_atomic
from imgcls.messages import UserError, did_you_mean, printable
from imgcls.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMATS = ("table", "csv", "json")
STDIN = "-"
UNKNOWN = "unknown"  # printed instead of the class of an image below the threshold
COLUMNS = ("image", "class", "confidence", "runner_up", "runner_up_confidence")
PROGRESS_FROM = 300  # number of images from which on progress is shown
READERS = 4  # threads that decode; each may take decoding.MAX_MEMORY

Item = tuple[str, Any]  # the name of an image, and its path or bytes, or why there are none (Undecodable)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run, with weights.safetensors and card.json.")],
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders, patterns such as '*.jpg', or - for standard input."),
    ],
    format: Annotated[str, typer.Option(help=f"Print as one of {', '.join(FORMATS)}.")] = "table",
    top_k: Annotated[int, typer.Option(min=1, help="Number of classes of each image, most probable first.")] = 2,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add the probability of every class to CSV; JSON always has them.")
    ] = False,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="Print 'unknown' for images that score below the threshold on the run's card."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write CSV or JSON to this file, such as predictions.csv.")
    ] = None,
    cam_dir: Annotated[
        Path | None, typer.Option(help="Write a Grad-CAM overlay of every image to this folder, such as maps.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of images in a batch.")] = 64,
    device: Device = None,
) -> None:
    """Print the class of every image, its confidence and the second class.

    Folders are searched recursively; hidden files are ignored, and every other file is tried, whatever its name. A
    single - reads paths, one per line, or the bytes of one image from standard input. Confidences are calibrated with
    the temperature on the run's card. --cam-dir overwrites nothing: if a name exists, the overlay gets another one. The
    threshold of --unknown was set so that 95 % of the validation images reach it. The exit status is 0 if every image
    was classified, 1 if some were not, 2 if none was.

    \b
      imgcls predict build/runs/photos-resnet18 holiday.jpg albums/
      imgcls predict build/runs/photos-resnet18 "albums/**/*.jpg" --probabilities --unknown --out predictions.csv
      find albums -newer predictions.csv | imgcls predict build/runs/photos-resnet18 - --cam-dir maps
    """  # noqa: D301 - \b keeps the lines of the examples
    from imgcls.models import open_run, resize_of, temperature_of, threshold_of

    check_choice("format", format, FORMATS)
    if cam_dir is not None and cam_dir.exists() and not cam_dir.is_dir():
        raise UserError(f"--cam-dir {cam_dir} is a file; name a folder, which is created if necessary")
    if out is not None and (out.suffix not in (".csv", ".json") or out.is_dir()):
        raise UserError(f"--out {out}: name a file that ends in .csv or .json")
    model, card = open_run(run)
    temperature = temperature_of(card)
    limit = threshold_of(card)
    if unknown and isinstance(limit, str):
        raise UserError(f"--unknown needs a threshold, and the model in {run} has none: {limit}; train it again")
    if len(card["classes"]) < 2:
        raise UserError(f"the model in {run} has only the class {card['classes']}, so every prediction is the same")
    items = _find(images)
    top_k = min(top_k, len(card["classes"]))

    table = _table([name for name, _ in items], [*card["classes"], UNKNOWN], top_k)
    columns = [*COLUMNS, *(f"{what}_{k}" for k in range(3, top_k + 1) for what in ("class", "confidence"))]
    columns += ["known"] * unknown + [f"p({name})" for name in card["classes"]] * probabilities
    formats = {"table": table, "csv": partial(as_csv, columns=columns), "json": _as_json}
    as_text, to_file = formats[format], formats[out.suffix[1:]] if out else None
    failed: list[dict[str, Any]] = []
    done = 0
    # On a terminal the printed rows show the progress, and both would overwrite each other.
    shown = len(items) > PROGRESS_FROM and not sys.stdout.isatty()
    with (
        Progress(len(items), show=shown) as progress, warnings.catch_warnings(),
        open_atomic(out) if out else contextlib.nullcontext() as file,
    ):  # fmt: skip
        warnings.filterwarnings("ignore", module="PIL")  # about unusual metadata
        for batch in _decoded(items, batch_size, card["image_size"], card["channels"], resize_of(card)):
            records = predict_batch(
                model, batch, card["classes"], temperature, cam_dir, None if isinstance(limit, str) else limit
            )
            for record in records if unknown else ():
                if record.get("known") is False:
                    record["class"] = UNKNOWN
            typer.echo(as_text(records, done == 0), nl=False)
            if out:
                file.write(to_file(records, done == 0))
            failed += [record for record in records if "error" in record]
            done += len(batch)
            progress.update(done, f"{done:,} of {len(items):,} images")
        if format == "json":
            typer.echo("\n]")
        if out and to_file is _as_json:
            file.write(b"\n]\n")
        progress.finish(f"{done - len(failed):,} of {done:,} images classified")
    for record in failed:
        note(f"{printable(record['image'])}: {record['error']}", "not classified")
    if len(failed) == done:
        raise UserError(f"none of the {done:,} images could be classified, for the reasons above")
    if failed:
        note(f"{len(failed):,} of {done:,} images were not classified")
        raise typer.Exit(1)


# ------------------------------------------------------------------ which images
def _find(arguments: Iterable[str]) -> list[Item]:
    """The images that the arguments name, each once, in the order of the arguments.

    Raises:
        ValueError: there is none; the message says what was tried.
    """
    from imgcls.data.decoding import Undecodable

    found: dict[str, Item] = {}
    for argument in arguments:
        for name, source in _standard_input() if argument == STDIN else _expand(argument):
            key = os.path.abspath(source) if isinstance(source, str) else name  # noqa: PTH100 - pathlib keeps ".."
            found.setdefault(key, (name, source))
    items = list(found.values())
    if all(isinstance(source, Undecodable) for _, source in items):
        tried = [f"{printable(name)!r}: {source.reason}{_suggestion(name)}" for name, source in items[:3]]
        tried += [f"and {len(items) - 3:,} more"] if len(items) > 3 else []
        raise UserError(
            f"no image found ({'; '.join(tried)}); name files, folders, patterns such as 'albums/*.jpg', "
            "or - for standard input"
        )
    return items


def _standard_input() -> list[Item]:
    from imgcls.data import decoding

    binary = (b"RIFF", *(magic for magic, _ in decoding.SIGNATURES))  # no list of paths starts like that
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if b"\0" in data[:32] or data.startswith(binary):
        return [(STDIN, data)]
    lines = [line.removesuffix("\r") for line in os.fsdecode(data).split("\n")]
    items = [item for line in lines if line for item in _expand(line)]
    return items or [(STDIN, decoding.Undecodable("there is nothing on standard input"))]


def _expand(argument: str) -> list[Item]:
    """The files of one argument: a file, a folder, or a pattern that the shell has not expanded."""
    from imgcls.data import files_below
    from imgcls.data.decoding import Undecodable

    path = os.path.expanduser(argument)  # noqa: PTH111 - pathlib raises where there is no home
    if os.path.lexists(path):
        matches, missing = [path], "no file in this folder"
    elif glob.has_magic(path):
        matches, missing = sorted(glob.glob(path, recursive=True)), "no file matches"  # noqa: PTH207 - absolute
    else:
        matches, missing = [], "no such file or folder"
    files = []
    for match in matches:  # os.path.isdir is False for a name that is too long, where pathlib raises
        files += map(str, files_below(Path(match))) if os.path.isdir(match) else [match]  # noqa: PTH112
    return [(file, file) for file in files] or [(argument, Undecodable(missing))]


def _suggestion(name: str) -> str:
    """A similar name in the folder of a missing file, if there is one."""
    folder, last = os.path.split(name)
    folder = folder or "."
    if os.path.lexists(name) or not os.path.isdir(folder):  # noqa: PTH112
        return ""
    close = did_you_mean(last, map(printable, os.listdir(folder)))  # noqa: PTH208
    return f", {close}" if close.startswith("did you mean") else ""


# ------------------------------------------------------------------ predictions
def _decoded(
    items: Sequence[Item], batch_size: int, image_size: int, channels: int, resize: str
) -> Iterator[list[tuple[str, Tensor | str]]]:
    """Batches of names with uint8 (C, H, W) or the reason for none."""
    from imgcls.data import load_image
    from imgcls.data.decoding import Undecodable

    def read(item: Item) -> tuple[str, Tensor | str]:
        name, source = item
        try:
            if isinstance(source, Undecodable):
                raise source
            return name, load_image(source, image_size, channels, resize)
        except Undecodable as error:
            return name, error.reason

    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(items), batch_size):
            yield list(pool.map(read, items[start : start + batch_size]))


def predict_batch(
    model: nn.Module,
    batch: Sequence[tuple[str, Tensor | str]],
    classes: Sequence[str],
    temperature: float,
    cam_dir: Path | None,
    limit: tuple[str, float, float] | None = None,
) -> list[dict[str, Any]]:
    """One record an image, in their order: COLUMNS, all probabilities and the path of the overlay, or the error.

    With a limit from `threshold_of`, a record has `known` too, whether its score reaches it.
    """
    import torch
    from torch import Tensor

    from imgcls.data import Split
    from imgcls.evaluation import predict_checked

    named = {name: pixels for name, pixels in batch if isinstance(pixels, Tensor)}
    records: dict[str, dict[str, Any]] = {}
    if named:
        images = torch.stack(list(named.values()))  # (N, C, H, W)
        split = Split(images, torch.zeros(len(images), dtype=torch.int64), None, tuple(named), tuple(classes))
        raw = predict_checked(model, split)
        predictions = raw.with_temperature(temperature)
        # Stable, so that the first of equal classes wins as in Predictions.predicted.
        best = predictions.logits.argsort(dim=1, descending=True, stable=True)[:, :2].tolist()
        for name, (first, second), shares in zip(named, best, predictions.probabilities.tolist(), strict=True):
            values = (name, classes[first], shares[first], classes[second], shares[second])
            records[name] = dict(zip(COLUMNS, values, strict=True))
            records[name]["probabilities"] = dict(zip(classes, shares, strict=True))
        if limit:
            from imgcls import openset

            known = getattr(openset, limit[0])(raw.logits) >= limit[1]
            for record, one in zip(records.values(), known.tolist(), strict=True):
                record["known"] = one
        if cam_dir:
            from imgcls import explain, plots  # slow to import, and seldom used

            maps = explain.grad_cam(model, images, predictions.predicted, batch_size=len(images))
            for image, cam, (name, record) in zip(images, maps, records.items(), strict=True):
                title = f"{record['class']}, {100 * record['confidence']:.0f} %"
                figure = plots.cam_grid(image[None], cam[None], [title], columns=1)
                record["overlay"] = str(plots.save(figure, _new_file(cam_dir, name)))
    return [records.get(name) or {"image": name, "error": pixels} for name, pixels in batch]


def _new_file(folder: Path, name: str) -> Path:
    """A file in the folder that does not exist yet, named like the image, if necessary with its folder and a number."""
    path = Path("stdin" if name == STDIN else name)
    stem, parent = path.stem, path.absolute().parent.name
    candidates = chain([stem, f"{parent}-{stem}"], (f"{parent}-{stem}-{i}" for i in count(2)))
    return next(file for one in candidates if not os.path.lexists(file := folder / f"{one}.png"))


# ------------------------------------------------------------------ output
def _table(names: Sequence[str], classes: Sequence[str], top_k: int) -> Callable[[list[dict[str, Any]], bool], str]:
    """A function that formats records as rows; their widths suit all names, all classes and the terminal."""
    label = max(len("runner-up"), *map(len, classes))
    room = shutil.get_terminal_size().columns - top_k * (label + len("confidence") + 4)
    width = min(max(len("image"), *map(len, names)), max(room, 16))
    heads = ["class", "runner-up", *(f"class {k}" for k in range(3, top_k + 1))][:top_k]

    def as_text(records: list[dict[str, Any]], first: bool) -> str:
        rows = [("image", [(head, "confidence") for head in heads])] if first else []
        for record in records:
            if "error" not in record:
                best = [(printable(one), f"{100 * share:.1f} %") for one, share in _top(record, top_k)]
                best[0] = (printable(record["class"]), best[0][1])
                rows.append((shorten(printable(record["image"]), width), best))
        return "".join(
            f"{name:<{width}}" + "".join(f"  {one:<{label}}  {share:>10}" for one, share in best) + "\n"
            for name, best in rows
        )

    return as_text


def _top(record: dict[str, Any], k: int | None = None) -> list[tuple[str, float]]:
    """The k most probable classes with their probabilities.

    The record knows the first two from the logits, while probabilities near 0 and 1 may be equal.
    """
    shares = record.get("probabilities", {})
    ranked = sorted(shares, key=lambda name: (name != record["class"], name == record["runner_up"], -shares[name]))
    ranked.insert(1, ranked.pop() if ranked else "")
    return [(name, shares[name]) for name in ranked if name in shares][:k]


def as_csv(records: list[dict[str, Any]], first: bool, columns: Sequence[str] = COLUMNS) -> bytes:
    """Records as CSV, with the header if they are the first; bytes, since a file name may be no valid text."""
    text = io.StringIO()
    rows = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if first:
        rows.writeheader()
    for record in records:
        if "error" not in record:
            flat = record | {f"p({name})": share for name, share in record.get("probabilities", {}).items()}
            for k, (name, share) in enumerate(_top(record), start=1):
                flat |= {f"class_{k}": name, f"confidence_{k}": share}
            rows.writerow({key: f"{value:.6f}" if isinstance(value, float) else value for key, value in flat.items()})
    return text.getvalue().encode("utf-8", "surrogateescape")


def _as_json(records: list[dict[str, Any]], first: bool) -> bytes:
    return (("[\n" if first else ",\n") + ",\n".join(map(json.dumps, records))).encode()


def shorten(text: str, width: int) -> str:
    """At most `width` characters, with "…" for the middle; the longer part is the end, where file names differ."""
    head = (width - 1) // 3
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
