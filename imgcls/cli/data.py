"""`imgcls data list`, `get` and `check`: the data sets of the course, and the contents of any data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from imgcls.cli.common import (
    FORMATS,
    RESIZE,
    Data,
    Format,
    Grayscale,
    ImageSize,
    Out,
    Resize,
    SplitAgain,
    check_choice,
    note,
    print_report,
)
from imgcls.messages import UserError, plural, some

if TYPE_CHECKING:
    from imgcls.data import Split, Splits

SHOWN = 20  # skipped files and pairs of duplicates that a table names
IMBALANCED = 1.5  # ratio of the largest to the smallest class from which on a note is given


class _ChecksByDefault(TyperGroup):
    """`imgcls data photos.zip` means `imgcls data check photos.zip`, and `imgcls data` alone lists."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list" if not args or (args[0] == "--format" and len(args) == 2) else "check", *args]
        return super().parse_args(ctx, args)


def application() -> typer.Typer:
    """The three commands."""
    app = typer.Typer(cls=_ChecksByDefault, add_completion=False, rich_markup_mode=None)
    app.callback()(_help)
    app.command("list")(list_sets)
    app.command("get")(get)
    app.command("check")(check)
    return app


def _help() -> None:
    """List, download or check data sets.

    \b
      imgcls data list                     list generated data sets, and real ones with their source
      imgcls data get cifar10              download a real data set to data/
      imgcls data check photos.zip         check a data set; `imgcls data photos.zip` does the same
    """  # noqa: D301 - \b keeps the lines of the examples


def list_sets(format: Format = "table") -> None:
    """List generated and real data sets.

    Real ones are listed with their path, or with how to download them.
    """
    import pandas as pd

    import menagerie
    from imgcls.data import catalogue
    from imgcls.data.sources import LAYOUT

    check_choice("format", format, FORMATS)
    generated = [
        {"name": f"menagerie/{name}", "classes": len(subset.classes), **menagerie.sizes(name),
         "image_size": subset.image_size}
        for name, subset in menagerie.subsets().items()
    ]  # fmt: skip
    real = []
    for name, entry in catalogue.CATALOGUE.items():
        found = catalogue.find(name)
        real.append({"name": name, "case": entry.case, "title": entry.title, "path": found and str(found),
                     "steps": entry.steps})  # fmt: skip
    if format == "json":
        typer.echo(json.dumps(generated + real, indent=2))
        return
    typer.echo(
        f"generated data sets, rendered on first use (image_size: pixels at which the classes are easy to distinguish)"
        f"\n\n{pd.DataFrame(generated).to_string(index=False)}\n\nreal data sets\n"
    )
    for one in real:
        where = f"path: {one['path']}" if one["path"] else f"to download: {one['steps']}"
        typer.echo(f"  {one['name']} (case {one['case']}): {one['title']}\n      {where}")
    typer.echo(f"\nyour own images: a folder, .zip or .tar with {LAYOUT}; archives are read in place")


def get(name: Annotated[str, typer.Argument(help="Name from `imgcls data list`, such as cifar10.")]) -> None:
    """Download a real data set to data/.

    An interrupted download continues, and a complete one is not repeated.
    """
    from imgcls.data import catalogue, download

    known = catalogue.key(name)
    existed = known and catalogue.find(known)
    path = download(name)
    note(f"{known} is {'already' if existed else 'now'} in {path}; check it with: imgcls data check {known}")
    typer.echo(path)


def check(
    data: Data,
    image_size: ImageSize = 64,
    resize: Resize = RESIZE,
    grayscale: Grayscale = False,
    seed: Annotated[int, typer.Option(help="Random seed for splits that are not given and for generated images.")] = 0,
    split_again: SplitAgain = False,
    format: Format = "table",
    out: Out = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw images of each class to this .png file.")
    ] = None,
) -> None:
    """Check a data set before training.

    The report has splits, classes, image sizes, formats, skipped files, duplicates, class imbalance and suspicious
    images.

    \b
      imgcls data check photos.zip --image-size 96 --contact-sheet sheet.png --out photos.json
      imgcls data check menagerie/cats_dogs --format json
    """  # noqa: D301 - \b keeps the lines of the examples
    import imgcls.data

    check_choice("format", format, FORMATS)
    for option, path, ending in (("--contact-sheet", contact_sheet, ".png"), ("--out", out, ".json")):
        if path is not None and path.suffix.lower() != ending:
            raise UserError(f"{option} {path} needs a name that ends in {ending}, such as {path.stem}{ending}")
    channels = 1 if grayscale else 3
    settings = {"image_size": image_size, "channels": channels, "resize": resize, "seed": seed}
    splits = imgcls.data.load(data, partial=True, split_again=split_again, **settings)
    if len(splits.train):  # else nothing to draw from: data to evaluate on
        splits = imgcls.data.load(data, split_again=split_again, **settings)
    facts = describe(splits, resize)
    facts["formats"] = imgcls.data.file_formats(data) if splits.kind == "real" else None
    print_report(facts, _text, format, out)
    if contact_sheet is not None:
        from imgcls import plots  # matplotlib takes longer to load than a small data set

        shown = _measured(splits)[1]
        grid = plots.sample_grid(shown.images, shown.labels, splits.classes)
        note(f"contact sheet in {plots.save(grid, contact_sheet)}")


def describe(splits: Splits, resize: str) -> dict:
    """The facts that `check` reports, as plain JSON values.

    Returns:
        name, kind, fingerprint, image_size, resize, channels, classes; splits {name: {images, given, per_class,
        sizes}}, sizes {width_min: …} in pixels or None; measured, train or the first split that is there, with its mean
        and std in [0, 1] units and imbalance {largest, smallest, ratio}; skipped [{name,
        reason}]; duplicate_groups that stay together where a split is drawn; suspicious {kind: [names]} of real
        images; duplicates [rows of `Audit.frame`] and pairs (across splits first); notes, one sentence for
        each problem.
    """
    import imgcls.data
    from imgcls.data.quality import suspicious_images

    measured, part = _measured(splits)
    statistics = imgcls.data.statistics(part)
    counts, sizes = imgcls.data.class_counts(splits), splits.sizes
    if sum(len(split) for _, split in splits.items()) > 50_000:
        note("looking for duplicates: every image is compared with every other")
    audit = imgcls.data.audit(splits)
    present = counts[measured][counts[measured] > 0]
    facts = {
        "name": splits.name,
        "kind": splits.kind,
        "fingerprint": splits.fingerprint,
        "image_size": splits.train.images.shape[2],
        "resize": resize,
        "channels": splits.train.images.shape[1],
        "classes": list(splits.classes),
        "splits": {
            name: {
                "images": len(split),
                "given": name in splits.given,
                "per_class": counts[name].to_dict(),
                "sizes": sizes.loc[name].to_dict() if name in sizes.index else None,
            }
            for name, split in splits.items()
        },
        "measured": measured,
        "mean": statistics["mean"].tolist(),
        "std": statistics["std"].tolist(),
        "skipped": [asdict(file) for file in splits.skipped],
        "suspicious": suspicious_images([split for _, split in splits.items()]) if splits.kind == "real" else {},
        "duplicate_groups": splits.duplicate_groups,
        "duplicates": audit.frame().to_dict("records"),
        "pairs": [{key: value for key, value in asdict(pair).items() if key != "indices"} for pair in audit.pairs],
        "imbalance": {
            "largest": present.idxmax(),
            "smallest": present.idxmin(),
            "ratio": round(float(present.max() / present.min()), 3),
        },
    }
    return facts | {"notes": [*_leaks(facts), *_problems(facts), *_suspicious(facts), *_enlarged(splits, resize)]}


def _measured(splits: Splits) -> tuple[str, Split]:
    """Name and images of train, or of the first split that is there."""
    return next((name, split) for name, split in splits.items() if len(split))


# ------------------------------------------------------------------ notes
def _leaks(facts: dict) -> Iterator[str]:
    """Images that are in an earlier split too."""
    consequences = {
        ("train", "val"): "the best epoch is then chosen on memorised images",
        ("train", "test"): "the test accuracy then includes memorised images",
        ("val", "test"): "the best epoch is then chosen on test images",
    }
    for row in facts["duplicates"]:
        split, earlier, count = row["split"], row["also_in"], row["exact"] + row["near"]
        if split == earlier or not count:
            continue
        pair = next(pair for pair in facts["pairs"] if tuple(pair["splits"]) == (earlier, split))
        some_of = f"{count} of {row['images']} {split} images"
        first = f"{row['exact']} exact, {row['near']} near; the first: {pair['second']} and {pair['first']}"
        if facts["kind"] == "generated":
            yield (
                f"{some_of} look{'s' * (count == 1)} like one of {earlier} at {facts['image_size']} px ({first}): each "
                "was drawn independently; use a larger --image-size"
            )
        else:
            yield (
                f"{some_of} {'is' if count == 1 else 'are'} also in {earlier} ({first}): "
                f"{consequences[earlier, split]}; keep each image in one split only"
            )


def _problems(facts: dict) -> Iterator[str]:
    """Contradictory labels, class imbalance, a single class, classes of one name, and classes that a split lacks."""
    from imgcls.data import lookalikes

    if len(facts["classes"]) == 1:
        yield f"{facts['classes'][0]!r} is the only class; a classifier needs at least two, each in a folder of its own"
    for group in lookalikes(facts["classes"]):
        yield f"the classes {' and '.join(map(repr, group))} differ in form only: if they are one, merge their folders"
    conflicts = [pair for pair in facts["pairs"] if not pair["same_label"]]
    if conflicts:
        first, count = conflicts[0], len({pair["second"] for pair in conflicts})
        yield (
            f"{count} image{' has' if count == 1 else 's have'} another label than "
            f"{'its' if count == 1 else 'their'} duplicate (the first: {first['second']} and {first['first']}): "
            "correct one of the two labels"
        )
    largest, smallest, ratio = facts["imbalance"].values()
    if ratio >= IMBALANCED:
        per_class = facts["splits"][facts["measured"]]["per_class"]
        yield (
            f"class {largest!r} has {ratio:.1f} times as many images as {smallest!r} in {facts['measured']} "
            f"({per_class[largest]} and {per_class[smallest]}): `imgcls train … --balanced-sampling` samples every "
            "class equally often; read the recall of each class beside the accuracy"
        )
    if facts["measured"] != "train":
        yield "there is no image to train on: a trained model can be evaluated on these data (`imgcls evaluate`)"
    for name, split in facts["splits"].items():
        missing = [one for one, count in split["per_class"].items() if not count]
        if missing and (split["images"] or facts["measured"] == "train"):
            yield f"{name} has no image of {some(missing)}, so it gives no metric for them; add images"


def _suspicious(facts: dict) -> Iterator[str]:
    """Images that may be useless for training."""
    for kind, names in facts["suspicious"].items():
        if names:
            yield f"{plural(len(names), 'image')} {'is' if len(names) == 1 else 'are'} {kind}: {some(names)}"


def _enlarged(splits: Splits, resize: str) -> Iterator[str]:
    """Images that are smaller than the input of the network."""
    import torch

    sizes = [split.sizes for _, split in splits.items() if split.sizes is not None]
    side = splits.train.images.shape[-1]
    which, scaled = ("longer", torch.amax) if resize == "pad" else ("shorter", torch.amin)
    lengths = scaled(torch.cat(sizes), dim=1) if sizes else torch.empty(0)
    if below := int((lengths < side).sum()):
        yield (
            f"{below} of {len(lengths)} images {'is' if below == 1 else 'are'} smaller than {side} px and enlarged, "
            f"which adds no detail; the median of the {which} sides is {int(lengths.median())} px (--image-size)"
        )


# ------------------------------------------------------------------ text


def _text(facts: dict) -> str:
    import pandas as pd

    splits = facts["splits"]
    columns = {
        name: [
            *split["per_class"].values(),
            split["images"],
            "given" if split["given"] else "drawn" if split["images"] else "none",
        ]
        for name, split in splits.items()
    }
    colour = "RGB" if facts["channels"] == 3 else "grayscale"
    blocks = [
        f"{facts['name']}: {facts['kind']} images of {plural(len(facts['classes']), 'class')}, fingerprint "
        f"{facts['fingerprint']}, read at {facts['image_size']} px ({facts['resize']}) in {colour}",
        pd.DataFrame({"class": [*facts["classes"], "(all)", "(split)"], **columns}).to_string(index=False),
    ]
    sizes = pd.DataFrame({name: split["sizes"] for name, split in splits.items() if split["sizes"]}).T
    if len(sizes):
        blocks.append(f"original sizes in px\n{sizes.to_string()}")
    if facts["formats"]:
        formats = ", ".join(f"{count} {name}" for name, count in facts["formats"].items())
        blocks.append(f"formats and modes: {formats}")
    mean, std = (", ".join(f"{value:.4f}" for value in facts[what]) for what in ("mean", "std"))
    blocks.append(f"{facts['measured']} in units of [0, 1]: mean {mean}; std {std}")
    skipped = [f"{file['name']}: {file['reason']}" for file in facts["skipped"]]
    blocks.append(_limited(f"{plural(len(skipped), 'file')} skipped", skipped))
    pairs = [
        f"{pair['second']} = {pair['first']} ({pair['kind']}{', mirrored' * pair['mirrored']}"
        f"{'' if pair['same_label'] else ', another label'})"
        for pair in facts["pairs"]
    ]
    table = pd.DataFrame([row for row in facts["duplicates"] if row["exact"] or row["near"]])
    blocks.append(_limited(f"duplicates\n{table.to_string(index=False)}", pairs) if pairs else "no duplicates")
    if groups := facts["duplicate_groups"]:
        blocks.append(f"{plural(groups, 'group')} of duplicates among the images that were split; each is in one split")
    return "\n\n".join([*blocks, *(f"note: {text}" for text in facts["notes"])])


def _limited(title: str, rows: list[str]) -> str:
    """A title and at most SHOWN rows below it."""
    more = [f"… and {len(rows) - SHOWN} more (--format json has all)"] if len(rows) > SHOWN else []
    return "\n  ".join([title, *rows[:SHOWN], *more])
