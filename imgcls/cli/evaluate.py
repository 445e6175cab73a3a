"""`imgcls evaluate`: test metrics of a trained model, with their uncertainty."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls.cli.common import (
    FORMATS,
    Data,
    Device,
    Format,
    Out,
    check_choice,
    classification_metrics,
    note,
    print_report,
)
from imgcls.messages import some

if TYPE_CHECKING:
    from imgcls.data import Splits
    from imgcls.evaluation import Predictions

SPLITS = ("train", "val", "test", "all")
LARGEST_CONFUSION = 12  # classes whose confusion matrix still fits a terminal
COLLAPSED = 0.9  # fraction of predictions of one class that suggests a collapsed model
PAIRS = 10


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that imgcls train wrote.")],
    data: Data,
    split: Annotated[str, typer.Option(help=f"Evaluate on one of {', '.join(SPLITS)}.")] = "test",
    format: Format = "table",
    out: Out = None,
    device: Device = None,
) -> None:
    """Report test metrics of a trained model with 95 % confidence intervals.

    Images are prepared as in training, and data without given splits are split as in training. The data must have the
    model's classes. Accuracy has a Wilson interval; balanced accuracy, the mean recall of the classes, combines the
    Wilson intervals of the recalls. The temperature was fitted on the validation images.

    \b
      imgcls evaluate build/runs/photos-resnet18 photos.zip
      imgcls evaluate build/runs/photos-resnet18 new.zip --split all --format json --out new.json
    """  # noqa: D301 - \b keeps the lines of the examples
    from imgcls.data import DataError
    from imgcls.evaluation import predict_checked
    from imgcls.models import open_run, temperature_of

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
    predictions = predict_checked(model, *chosen)
    results = {
        "run": str(run),
        "data": {"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        "split": split,
        **classification_metrics(predictions, temperature),
        "confusion": {"classes": list(predictions.classes), "counts": predictions.confusion().tolist()},
        "most_confused": predictions.most_confused(PAIRS).to_dict("records"),
        "skipped": [asdict(file) for file in splits.skipped],
        "notes": _notes(card, splits, split),
        "warnings": collapse_warnings(predictions),
    }
    for kind in ("note", "warning"):
        for text in results[f"{kind}s"]:
            note(text, kind)
    print_report(results, _as_text, format, out)


def _load(data: str, card: Mapping[str, Any], run: Path) -> Splits:
    """The data with the settings of the card: the split of the run's seed, classes in the order of the outputs."""
    from imgcls.data import DataError, load
    from imgcls.models import resize_of

    settings = {
        "image_size": card["image_size"],
        "channels": card["channels"],
        "resize": resize_of(card),
        "seed": card.get("seed", 0),
    }
    splits = load(data, **settings)
    ours, theirs = card["classes"], list(splits.classes)
    if sorted(ours) != sorted(theirs):
        raise DataError(
            f"{data} has other classes than the model in {run}: {_differences(ours, theirs)}; name the class folders "
            f"as the model does ({some(ours)}) and leave others out, or train a model on these data"
        )
    return splits if ours == theirs else load(data, classes=ours, **settings)


def _differences(ours: list[str], theirs: list[str]) -> str:
    missing = {_normalized(name): name for name in ours if name not in theirs}
    unknown = {_normalized(name): name for name in theirs if name not in ours}
    parts = {
        "missing there": [name for key, name in missing.items() if key not in unknown],
        "unknown to the model": [name for key, name in unknown.items() if key not in missing],
        "spelled differently": [f"{name!r} for {missing[key]!r}" for key, name in unknown.items() if key in missing],
    }
    return "; ".join(f"{what}: {some(names)}" for what, names in parts.items() if names)


def _normalized(name: str) -> str:
    """A name without differences in case, in the encoding of accents and in separators."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _notes(card: Mapping[str, Any], splits: Splits, split: str) -> list[str]:
    """Whether the evaluated images may have been used in training."""
    trained_on = card.get("data")
    if not isinstance(trained_on, Mapping) or "fingerprint" not in trained_on:
        return []
    if trained_on["fingerprint"] != splits.fingerprint:
        total = sum(len(part) for _, part in splits.items())
        advice = "" if split == "all" else f"; --split all evaluates all {total:,} images"
        return [
            f"these are not the training data, {trained_on.get('name')}, or they have changed since; images that were "
            f"among the training data may have been trained on{advice}"
        ]
    used = {
        "train": "the model was trained on these images",
        "val": "the best epoch and the temperature were chosen on these images",
        "all": "the model was trained on some of these images, and its epoch was chosen on others",
    }
    if split in used:
        return [f"{used[split]}; --split test gives an unbiased estimate"]
    if "seed" not in card:
        return [
            "the card has no random seed for the split; unless the data have a given test split, some of these images "
            "may have been trained on"
        ]
    return []


def collapse_warnings(predictions: Predictions) -> list[str]:
    """A warning where nearly all predictions are one class, and far more than the images of that class."""
    share = predictions.predicted_share()
    name, true = share.idxmax(), float((predictions.labels == int(share.argmax())).double().mean())
    if share.max() < COLLAPSED or share.max() - true < 1 - COLLAPSED:
        return []
    return [
        f"{100 * share.max():.0f} % of the predictions but {100 * true:.0f} % of the images are {name!r}: the model "
        "collapsed to one class; see its learning curves, and train with a lower learning rate or --balanced-sampling"
    ]


def _as_text(results: Mapping[str, Any]) -> str:
    import pandas as pd

    from imgcls.evaluation.statistics import Interval

    lines = [f"{results['data']['name']}, {results['split']}: {results['n']:,} images"]
    for name in ("accuracy", "balanced_accuracy"):
        lines.append(f"{name.replace('_', ' '):<19}{Interval(**results[name])}")
    for title, name in (("loss", "loss"), ("calibration error", "ece")):
        calibrated = f" ({results[f'{name}_at_temperature']:.3f} at temperature {results['temperature']:.3g})"
        lines.append(f"{title:<19}{results[name]:.3f}{calibrated if results['temperature'] != 1 else ''}")
    table = pd.DataFrame(results["per_class"]).set_index("class").rename_axis(None)
    ratios = ["precision", "recall", "f1"]
    table[ratios] = table[ratios].astype(float).map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    blocks = ["\n".join(lines), table.to_string()]
    names, counts = results["confusion"]["classes"], results["confusion"]["counts"]
    if len(names) <= LARGEST_CONFUSION:
        blocks.append("confusion, rows true, columns predicted\n" + pd.DataFrame(counts, names, names).to_string())
    if results["most_confused"]:
        blocks.append("most confused\n" + pd.DataFrame(results["most_confused"]).to_string(index=False))
    if results["skipped"]:
        skipped = pd.DataFrame(results["skipped"]).groupby("reason", sort=False)["name"].agg(list)
        rows = [f"\n  {reason}: {some(names, shown=3)}" for reason, names in skipped.items()]
        blocks.append(f"skipped in the whole data set: {len(results['skipped'])}{''.join(rows)}")
    return "\n\n".join(blocks)
