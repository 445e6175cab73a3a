"""`imgcls evaluate`: what a trained model is worth on a data set."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from imgcls.cli.common import check_choice, note, some, worth
from imgcls.data import DataError, Splits, load
from imgcls.evaluation import Predictions, predict_checked
from imgcls.evaluation.statistics import Interval
from imgcls.files import write
from imgcls.models import open_run, temperature_of

SPLITS = ("train", "val", "test", "all")
FORMATS = ("table", "json")
LARGEST_CONFUSION = 12  # classes of which the table still fits a terminal
NEARLY_ALL = 0.9  # share of the answers that makes a class suspicious
PAIRS = 10


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that imgcls train wrote.")],
    data: Annotated[str, typer.Argument(help="Folder, .zip or .tar of class/image files, or menagerie/<subset>.")],
    split: Annotated[str, typer.Option(help=f"One of {', '.join(SPLITS)}.")] = "test",
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File that gets the JSON too.")] = None,
) -> None:
    """Ask a trained model about labelled images, and say how good its answers are and how sure that is.

    Images are prepared as the run's card says, and data that come without splits are split as they were in training.
    The data must have the model's classes. Accuracy has its 95 % Wilson interval; balanced accuracy, the mean recall
    of the classes, has one put together from the Wilson intervals of the recalls. The temperature was fitted on the
    validation images.

    \b
      imgcls evaluate build/runs/photos-resnet18 photos.zip
      imgcls evaluate build/runs/photos-resnet18 new.zip --split all --format json --out new.json
    """  # noqa: D301 - \b keeps the lines of the examples
    check_choice("split", split, SPLITS)
    check_choice("format", format, FORMATS)
    if out is not None and out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file in it, such as {out / 'evaluation.json'}")
    model, card = open_run(run)
    temperature = temperature_of(card)
    splits = _load(data, card, run)
    chosen = [part for name, part in splits.items() if split in (name, "all") and len(part)]
    if not chosen:
        raise DataError(f"the {split} split of {data} has no image; choose another --split")
    answers = predict_checked(model, *chosen)
    found = {
        "run": str(run),
        "data": {"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        "split": split,
        **worth(answers, temperature),
        "confusion": {"classes": list(answers.classes), "counts": answers.confusion().tolist()},
        "most_confused": answers.most_confused(PAIRS).to_dict("records"),
        "skipped": [{"name": file.name, "reason": file.reason} for file in splits.skipped],
        "notes": _notes(card, splits, split),
        "warnings": _collapse(answers),
    }
    for kind in ("note", "warning"):
        for text in found[f"{kind}s"]:
            note(text, kind)
    as_json = json.dumps(found, indent=2, allow_nan=False)
    if out is not None:
        write(out, as_json + "\n")
    typer.echo(as_json if format == "json" else _as_text(found))


# ------------------------------------------------------------------ the data
def _load(data: str, card: Mapping[str, Any], run: Path) -> Splits:
    """The data as the card wants them: split by the seed of the run, classes in the order of the model's outputs."""
    settings = {"image_size": card["image_size"], "channels": card["channels"], "seed": card.get("seed", 0)}
    splits = load(data, **settings)
    ours, theirs = card["classes"], list(splits.classes)
    if sorted(ours) != sorted(theirs):
        raise DataError(
            f"{data} has other classes than the model in {run}: {_differences(ours, theirs)}; name the class folders "
            f"as the model does ({some(ours)}) and leave others out, or train a model on these data"
        )
    return splits if ours == theirs else load(data, classes=ours, **settings)


def _differences(ours: list[str], theirs: list[str]) -> str:
    missing, unknown = ([name for name in a if name not in b] for a, b in ((ours, theirs), (theirs, ours)))
    spelt = {_letters(name): name for name in missing}
    alike = {name: spelt[_letters(name)] for name in unknown if _letters(name) in spelt}
    parts = {
        "missing there": [name for name in missing if name not in alike.values()],
        "unknown to the model": [name for name in unknown if name not in alike],
        "same names in other letters": [f"{there!r} for {here!r}" for there, here in alike.items()],
    }
    return "; ".join(f"{what}: {some(names)}" for what, names in parts.items() if names)


def _letters(name: str) -> str:
    """What stays of a name whatever the capitals, the form of its accents and the signs between its words."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


# ------------------------------------------------------------------ what to keep in mind
def _notes(card: Mapping[str, Any], splits: Splits, split: str) -> list[str]:
    trained_on = card.get("data")
    if not isinstance(trained_on, Mapping) or "fingerprint" not in trained_on:
        return []
    if trained_on["fingerprint"] != splits.fingerprint:
        total = sum(len(part) for _, part in splits.items())
        whole = "" if split == "all" else f"; --split all asks about all {total:,} images"
        return [
            f"these are not the data of the training, or have changed since; images that were among those, "
            f"{trained_on.get('name')}, may have been trained on{whole}"
        ]
    fair = "; --split test gives a fair estimate"
    seen = {
        "train": f"the model was trained on these images{fair}",
        "val": f"the best epoch and the temperature were chosen by these images{fair}",
        "all": f"the model was trained on some of these images and chosen by others{fair}",
    }
    if split in seen:
        return [seen[split]]
    if "seed" not in card:
        return [
            "the card does not say by which seed the data were split; unless they came with a test split, "
            "some of these images may have been trained on"
        ]
    return []


def _collapse(answers: Predictions) -> list[str]:
    """A warning where one class gets nearly all answers and far more than are its own."""
    share = answers.predicted_share()
    name, own = share.idxmax(), float((answers.labels == int(share.argmax())).double().mean())
    if share.max() < NEARLY_ALL or share.max() - own < 1 - NEARLY_ALL:
        return []
    return [
        f"{share.max():.0%} of the answers are {name!r} and {own:.0%} of the images: the model has collapsed to one "
        "class; see its learning curves, and train with a lower learning rate or --balanced".replace("%", " %")
    ]


# ------------------------------------------------------------------ for people
def _as_text(found: Mapping[str, Any]) -> str:
    accuracies = {what: Interval(**found[what.replace(" ", "_")]) for what in ("accuracy", "balanced accuracy")}
    lines = [f"{found['data']['name']}, {found['split']}: {found['n']:,} images"]
    lines += [f"{what:<19}{interval}" for what, interval in accuracies.items()]
    for what, name in (("loss", "loss"), ("calibration error", "ece")):
        cooled = f" ({found[f'{name}_at_temperature']:.3f} at temperature {found['temperature']:.3g})"
        lines.append(f"{what:<19}{found[name]:.3f}{cooled if found['temperature'] != 1 else ''}")
    table = pd.DataFrame(found["per_class"]).set_index("class").rename_axis(None)
    ratios = ["precision", "recall", "f1"]
    table[ratios] = table[ratios].astype(float).map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    parts = ["\n".join(lines), table.to_string()]
    names, counts = found["confusion"]["classes"], found["confusion"]["counts"]
    if len(names) <= LARGEST_CONFUSION:
        parts.append("confusion, rows true, columns predicted\n" + pd.DataFrame(counts, names, names).to_string())
    if found["most_confused"]:
        parts.append("most confused\n" + pd.DataFrame(found["most_confused"]).to_string(index=False))
    if found["skipped"]:
        parts.append(_skipped_text(found["skipped"]))
    return "\n\n".join(parts)


def _skipped_text(files: list[dict[str, str]]) -> str:
    reasons = defaultdict(list)
    for file in files:
        reasons[file["reason"]].append(file["name"])
    lines = [f"  {reason}: {some(names, shown=3)}" for reason, names in reasons.items()]
    return "\n".join([f"left out of the whole data set: {len(files)} file{'s' * (len(files) > 1)}", *lines])
