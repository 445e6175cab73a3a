"""`imgcls data list`, `get` and `check`: the data sets of the course, and the contents of any data set."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from typer.core import TyperGroup

import imgcls.data
import menagerie
from imgcls import files
from imgcls.cli.common import Grayscale, ImageSize, check_choice, note, some
from imgcls.data import Splits, catalogue
from imgcls.data.sources import LAYOUT, SPLITS

FORMATS = ("table", "json")
SHOWN = 20  # skipped files and pairs of duplicates that a table names
IMBALANCED = 1.5  # ratio of the largest to the smallest class from which on a note is given

Format = Annotated[str, typer.Option(help="Print as table or json.")]


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
    """List the data sets of the course, download one, or check any.

    \b
      imgcls data list                     list generated data sets, and real ones with their source
      imgcls data get cifar10              download a real data set to data/
      imgcls data check photos.zip         check a data set; `imgcls data photos.zip` does the same
    """  # noqa: D301 - \b keeps the lines of the examples


def list_sets(format: Format = "table") -> None:
    """List the generated data sets, and the real ones with their path or how to download them."""
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
    """Download a real data set to data/; an interrupted download continues, a complete one is kept."""
    known = catalogue.key(name)
    existed = known and catalogue.find(known)
    path = imgcls.data.download(name)
    note(f"{known} is {'already' if existed else 'now'} in {path}; check it with: imgcls data check {known}")
    typer.echo(path)


def check(
    data: Annotated[
        str, typer.Argument(help="Folder, .zip or .tar of CLASS/IMAGE files, menagerie/SUBSET, or a name from `list`.")
    ],
    image_size: ImageSize = 64,
    grayscale: Grayscale = False,
    seed: Annotated[int, typer.Option(help="Random seed of splits that are not given, and of generated images.")] = 0,
    format: Format = "table",
    out: Annotated[Path | None, typer.Option(help="Also write everything to this .json file.")] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw the first training images of each class to this .png file.")
    ] = None,
) -> None:
    """Show splits, classes, image sizes, file formats, skipped files, duplicates and class imbalance.

    \b
      imgcls data check photos.zip --image-size 96 --contact-sheet sheet.png --out photos.json
      imgcls data check menagerie/cats_dogs --format json
    """  # noqa: D301 - \b keeps the lines of the examples
    check_choice("format", format, FORMATS)
    for option, path, ending in (("--contact-sheet", contact_sheet, ".png"), ("--out", out, ".json")):
        if path is not None and path.suffix.lower() != ending:
            raise ValueError(f"{option} {path} needs a name that ends in {ending}, such as {path.stem}{ending}")
    splits = imgcls.data.load(data, image_size=image_size, channels=1 if grayscale else 3, seed=seed)
    facts = describe(splits)
    facts["formats"] = imgcls.data.file_formats(data) if splits.kind == "real" else None
    typer.echo(json.dumps(facts, indent=2) if format == "json" else _text(facts))
    if out is not None:
        files.write(out, json.dumps(facts, indent=2) + "\n")
        note(f"everything is in {out}")
    if contact_sheet is not None:
        from imgcls import plots  # matplotlib takes longer to load than a small data set

        grid = plots.sample_grid(splits.train.images, splits.train.labels, splits.classes)
        note(f"contact sheet in {plots.save(grid, contact_sheet)}")


def describe(splits: Splits) -> dict:
    """The facts that `check` reports, as plain JSON values.

    Returns:
        name, kind, fingerprint, image_size, channels, classes; splits {name: {images, given, per_class, sizes}},
        sizes {width_min: …} in pixels or None; mean and std of train in [0, 1] units; skipped [{name, reason}];
        duplicates [rows of `Audit.frame`] and pairs (across splits first); imbalance {largest, smallest, ratio} of
        train; notes, one sentence for each problem.
    """
    statistics = imgcls.data.statistics(splits.train)
    counts, sizes = imgcls.data.class_counts(splits), splits.sizes
    if sum(map(len, (splits.train, splits.val, splits.test))) > 50_000:
        note("looking for duplicates: every image is compared with every other")
    audit = imgcls.data.audit(splits)
    channels, size = splits.train.images.shape[1:3]
    train = counts["train"]
    facts = {
        "name": splits.name,
        "kind": splits.kind,
        "fingerprint": splits.fingerprint,
        "image_size": size,
        "channels": channels,
        "classes": list(splits.classes),
        "splits": {
            name: {
                "images": len(split),
                "given": splits.kind == "generated" or _is_given(name, split.names),
                "per_class": {one: int(count) for one, count in counts[name].items()},
                "sizes": {key: int(value) for key, value in sizes.loc[name].items()} if name in sizes.index else None,
            }
            for name, split in splits.items()
        },
        "mean": statistics["mean"].tolist(),
        "std": statistics["std"].tolist(),
        "skipped": [{"name": entry.name, "reason": entry.reason} for entry in splits.skipped],
        "duplicates": audit.frame().to_dict("records"),
        "pairs": [
            {key: getattr(pair, key) for key in ("first", "second", "splits", "kind", "similarity", "same_label")}
            for pair in audit.pairs
        ],
        "imbalance": {
            "largest": str(train.idxmax()),
            "smallest": str(train.idxmin()),
            "ratio": round(float(train.max() / train.min()), 3),
        },
    }
    checks = (_duplicate_notes, _label_notes, _imbalance_notes, _missing_class_notes)
    return facts | {"notes": [text for find in checks for text in find(facts)] + _enlargement_notes(splits)}


def _is_given(split: str, names: tuple[str, ...]) -> bool:
    """Whether the files of a split are in a folder of that name; otherwise the split was drawn at random."""
    parts = names[0].split("/") if names else ()
    return len(parts) == 3 and SPLITS[parts[0].lower()] == split


# ------------------------------------------------------------------ notes


def _duplicate_notes(facts: dict) -> list[str]:
    notes = []
    for row in facts["duplicates"]:
        split, earlier, count = row["split"], row["also_in"], row["exact"] + row["near"]
        if split == earlier or not count:
            continue
        pair = next(pair for pair in facts["pairs"] if tuple(pair["splits"]) == (earlier, split))
        first = f"{row['exact']} exact, {row['near']} near; the first: {pair['second']} and {pair['first']}"
        if facts["kind"] == "generated":
            notes.append(
                f"{count} of {row['images']} {split} images look{'s' * (count == 1)} like one of {earlier} at "
                f"{facts['image_size']} px ({first}): each was drawn independently; use a larger --image-size"
            )
            continue
        consequence = {
            ("test", "train"): "the test accuracy then includes memorised images",
            ("val", "train"): "the best epoch is then chosen on memorised images",
            ("test", "val"): "the best epoch is then chosen on test images",
        }[split, earlier]
        notes.append(
            f"{count} of {row['images']} {split} images {'is' if count == 1 else 'are'} also in {earlier} "
            f"({first}): {consequence}; keep each image in one split only"
        )
    return notes


def _label_notes(facts: dict) -> list[str]:
    conflicts = [pair for pair in facts["pairs"] if not pair["same_label"]]
    if not conflicts:
        return []
    pair, count = conflicts[0], len({pair["second"] for pair in conflicts})
    return [
        f"{count} image{' has' if count == 1 else 's have'} another label than {'its' if count == 1 else 'their'} "
        f"duplicate (the first: {pair['second']} and {pair['first']}): correct one of the two labels"
    ]


def _imbalance_notes(facts: dict) -> list[str]:
    imbalance, per_class = facts["imbalance"], facts["splits"]["train"]["per_class"]
    if imbalance["ratio"] < IMBALANCED:
        return []
    largest, smallest = imbalance["largest"], imbalance["smallest"]
    return [
        f"class {largest!r} has {imbalance['ratio']:.1f} times as many training images as {smallest!r} "
        f"({per_class[largest]} and {per_class[smallest]}): `imgcls train … --balanced-sampling` samples every class "
        f"equally often; read the recall of each class beside the accuracy"
    ]


def _missing_class_notes(facts: dict) -> list[str]:
    notes = []
    for name, split in facts["splits"].items():
        missing = [one for one, count in split["per_class"].items() if not count]
        if missing:
            notes.append(f"{name} has no image of {some(missing)}, so it gives no metric for them; add images")
    return notes


def _enlargement_notes(splits: Splits) -> list[str]:
    sizes = [split.sizes for _, split in splits.items() if split.sizes is not None]
    side = splits.train.images.shape[-1]
    shorter = torch.cat(sizes).amin(dim=1) if sizes else torch.empty(0)
    below = int((shorter < side).sum())
    if not below:
        return []
    return [
        f"{below} of {len(shorter)} images {'is' if below == 1 else 'are'} smaller than {side} px and enlarged, which "
        f"adds no detail; the median of the shorter sides is {int(shorter.median())} px (--image-size)"
    ]


# ------------------------------------------------------------------ text


def _text(facts: dict) -> str:
    splits, skipped, channels = facts["splits"], facts["skipped"], {1: "grayscale", 3: "RGB"}[facts["channels"]]
    columns = {
        name: [*split["per_class"].values(), split["images"], "given" if split["given"] else "drawn"]
        for name, split in splits.items()
    }
    blocks = [
        f"{facts['name']}: {facts['kind']} images of {len(facts['classes'])} classes, fingerprint "
        f"{facts['fingerprint']}, read at {facts['image_size']} px in {channels}",
        pd.DataFrame({"class": [*facts["classes"], "(all)", "(split)"], **columns}).to_string(index=False),
    ]
    sizes = pd.DataFrame({name: split["sizes"] for name, split in splits.items() if split["sizes"]}).T
    if len(sizes):
        blocks.append(f"original sizes in px\n{sizes.to_string()}")
    if facts.get("formats"):
        formats = ", ".join(f"{count} {name}" for name, count in facts["formats"].items())
        blocks.append(f"formats and modes: {formats}")
    mean, std = (", ".join(f"{value:.4f}" for value in facts[what]) for what in ("mean", "std"))
    blocks.append(f"train in units of [0, 1]: mean {mean}; std {std}")
    rows = [f"{entry['name']}: {entry['reason']}" for entry in skipped]
    blocks.append(_limited(f"{len(rows)} file{'s' * (len(rows) != 1)} skipped", rows))
    rows = [
        f"{pair['second']} = {pair['first']} ({pair['kind']}{'' if pair['same_label'] else ', another label'})"
        for pair in facts["pairs"]
    ]
    table = pd.DataFrame([row for row in facts["duplicates"] if row["exact"] or row["near"]])
    blocks.append(_limited(f"duplicates\n{table.to_string(index=False)}", rows) if rows else "no duplicates")
    return "\n\n".join([*blocks, *(f"note: {text}" for text in facts["notes"])])


def _limited(title: str, rows: list[str]) -> str:
    """A title and at most SHOWN rows below it."""
    more = [f"… and {len(rows) - SHOWN} more (--format json has all)"] if len(rows) > SHOWN else []
    return "\n  ".join([title, *rows[:SHOWN], *more])
