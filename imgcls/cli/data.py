"""`imgcls data check`: what training would get from a folder, an archive or a generated set."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

import imgcls.data
from imgcls import files
from imgcls.cli.common import check_choice, note, some
from imgcls.data import Splits
from imgcls.data.sources import SPLITS

FORMATS = ("table", "json")
SHOWN = 20  # files left out and pairs of duplicates that a table names
UNEVEN = 1.5  # largest class over smallest from which on something is said about it


def data(
    data: Annotated[
        str, typer.Argument(help="Folder, .zip or .tar of class/image files, menagerie/<subset>, or a name of `list`.")
    ],
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 64,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    seed: Annotated[int, typer.Option(help="Of the split where none is given, and of generated images.")] = 0,
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Also write all of it to this .json file.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw the first training images of each class, .png.")] = None,
) -> None:
    """Show what training would get: splits, classes, sizes, kinds of files, what is left out, duplicates, imbalance.

    \b
      imgcls data check photos.zip --size 96 --sheet sheet.png --out photos.json
      imgcls data check menagerie/cats_dogs --format json
    """  # noqa: D301 - \b keeps the lines of the examples
    check_choice("format", format, FORMATS)
    for option, path, ending in (("--sheet", sheet, ".png"), ("--out", out, ".json")):
        if path is not None and path.suffix.lower() != ending:
            raise ValueError(f"{option} {path} needs a name that ends in {ending}, such as {path.stem}{ending}")
    splits = imgcls.data.load(data, image_size=size, channels=1 if grey else 3, seed=seed)
    facts = describe(splits)
    facts["kinds"] = imgcls.data.file_formats(data) if splits.kind == "real" else None
    typer.echo(json.dumps(facts, indent=2) if format == "json" else _text(facts))
    if out is not None:
        files.write(out, json.dumps(facts, indent=2) + "\n")
        note(f"all of it in {out}")
    if sheet is not None:
        from imgcls import plots  # matplotlib takes longer to load than a small set

        path = plots.save(plots.sample_grid(splits.train.images, splits.train.labels, splits.classes), sheet)
        note(f"sample sheet in {path}")


def describe(splits: Splits) -> dict:
    """All that the command tells about a data set, as plain values that JSON can hold.

    Returns:
        name, kind, fingerprint, image_size, channels, classes; splits {name: {images, given, per_class, sizes}},
        sizes {width_min: …} in pixels or None; mean and std of train in [0, 1] units; skipped [{name, reason}];
        duplicates [rows of `Audit.frame`] and pairs (across splits first); imbalance {largest, smallest, ratio} of
        train; notes, one sentence for each thing to mend.
    """
    measured = imgcls.data.statistics(splits.train)
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
        "mean": measured["mean"].tolist(),
        "std": measured["std"].tolist(),
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
    return facts | {"notes": [*_leaks(facts), *_labels(facts), *_balance(facts), *_gaps(facts), *_small(splits)]}


def _is_given(split: str, names: tuple[str, ...]) -> bool:
    """Whether the files of a split stand in a folder of that name; if not, they were drawn."""
    parts = names[0].split("/") if names else ()
    return len(parts) == 3 and SPLITS[parts[0].lower()] == split


# ------------------------------------------------------------------ what to mend


def _leaks(facts: dict) -> list[str]:
    said = []
    for row in facts["duplicates"]:
        split, earlier, count = row["split"], row["also_in"], row["exact"] + row["near"]
        if split == earlier or not count:
            continue
        pair = next(pair for pair in facts["pairs"] if tuple(pair["splits"]) == (earlier, split))
        first = f"{row['exact']} exactly, {row['near']} nearly; the first: {pair['second']} and {pair['first']}"
        if facts["kind"] == "generated":
            said.append(
                f"{count} of {row['images']} {split} pictures look{'s' * (count == 1)} like one of {earlier} at "
                f"{facts['image_size']} px ({first}): each was drawn on its own, and a larger --size tells them apart"
            )
            continue
        consequence = {
            ("test", "train"): "the test accuracy then also counts what was learnt by heart",
            ("val", "train"): "the best epoch is then chosen by what was learnt by heart",
            ("test", "val"): "the best epoch is then chosen by pictures of the test",
        }[split, earlier]
        said.append(
            f"{count} of {row['images']} {split} pictures {'is' if count == 1 else 'are'} also in {earlier} "
            f"({first}): {consequence}; keep each picture on one side only"
        )
    return said


def _labels(facts: dict) -> list[str]:
    clashes = [pair for pair in facts["pairs"] if not pair["same_label"]]
    if not clashes:
        return []
    pair, count = clashes[0], len({pair["second"] for pair in clashes})
    return [
        f"{count} picture{' has' if count == 1 else 's have'} another label than {'its' if count == 1 else 'their'} "
        f"duplicate (the first: {pair['second']} and {pair['first']}): one of the two is wrong"
    ]


def _balance(facts: dict) -> list[str]:
    uneven, per_class = facts["imbalance"], facts["splits"]["train"]["per_class"]
    if uneven["ratio"] < UNEVEN:
        return []
    largest, smallest = uneven["largest"], uneven["smallest"]
    return [
        f"class {largest!r} has {uneven['ratio']:.1f} times as many training images as {smallest!r} "
        f"({per_class[largest]} and {per_class[smallest]}): `imgcls train … --balanced` shows every class equally "
        f"often; read the recall of each class beside the accuracy"
    ]


def _gaps(facts: dict) -> list[str]:
    empty = {
        name: [one for one, count in split["per_class"].items() if not count] for name, split in facts["splits"].items()
    }
    return [
        f"{name} has no image of {some(gone)}: nothing will be known about "
        f"{'that class' if len(gone) == 1 else 'those classes'} there; add some"
        for name, gone in empty.items()
        if gone
    ]


def _small(splits: Splits) -> list[str]:
    sizes = [split.sizes for _, split in splits.items() if split.sizes is not None]
    side = splits.train.images.shape[-1]
    short = torch.cat(sizes).amin(dim=1) if sizes else torch.empty(0)
    below = int((short < side).sum())
    if not below:
        return []
    return [
        f"{below} of {len(short)} pictures {'is' if below == 1 else 'are'} smaller than {side} px and get enlarged, "
        f"which adds no detail; the median of the shorter sides is {int(short.median())} px (--size)"
    ]


# ------------------------------------------------------------------ text


def _text(facts: dict) -> str:
    splits = facts["splits"]
    colour = "RGB" if facts["channels"] == 3 else "grey"
    columns = {
        name: [*split["per_class"].values(), split["images"], "given" if split["given"] else "drawn"]
        for name, split in splits.items()
    }
    counts = pd.DataFrame({"class": [*facts["classes"], "(all)", "(split)"], **columns})
    numbers = {what: ", ".join(f"{value:.4f}" for value in facts[what]) for what in ("mean", "std")}
    blocks = [
        f"{facts['name']}: {facts['kind']} images of {len(facts['classes'])} classes, "
        f"fingerprint {facts['fingerprint']}, here at {facts['image_size']} px in {colour}",
        counts.to_string(index=False),
        *_sizes_text(splits),
        *_kinds_text(facts.get("kinds")),
        f"train in units of [0, 1]: mean {numbers['mean']}; std {numbers['std']}",
        *_skipped_text(facts["skipped"]),
        *_duplicates_text(facts),
    ]
    return "\n\n".join([*blocks, *(f"note: {note}" for note in facts["notes"])])


def _sizes_text(splits: dict) -> list[str]:
    rows = {
        name: [
            " / ".join(str(split["sizes"][f"{side}_{what}"]) for what in ("min", "median", "max"))
            for side in ("width", "height")
        ]
        for name, split in splits.items()
        if split["sizes"]
    }
    if not rows:
        return []
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["width", "height"])
    return [f"original sizes in px, smallest / median / largest\n{frame.to_string()}"]


def _kinds_text(kinds: dict[str, int] | None) -> list[str]:
    if not kinds:
        return []
    return ["formats and modes: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())]


def _skipped_text(skipped: list[dict]) -> list[str]:
    if not skipped:
        return ["no file left out"]
    lines = [f"  {entry['name']}: {entry['reason']}" for entry in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"  … and {len(skipped) - SHOWN} more (--format json has all)")
    return ["\n".join([f"{len(skipped)} file{'s' * (len(skipped) > 1)} left out", *lines])]


def _duplicates_text(facts: dict) -> list[str]:
    rows = [row for row in facts["duplicates"] if row["exact"] or row["near"]]
    if not rows:
        return ["no picture occurs twice"]
    lines = [
        f"  {pair['second']} = {pair['first']} ({pair['kind']}{'' if pair['same_label'] else ', another label'})"
        for pair in facts["pairs"][:SHOWN]
    ]
    if len(facts["pairs"]) > SHOWN:
        lines.append(f"  … and {len(facts['pairs']) - SHOWN} more (--format json has all)")
    table = pd.DataFrame(rows).to_string(index=False)
    return ["\n".join(["pictures that occur more than once", table, *lines])]
