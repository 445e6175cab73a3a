"""`imgcls evaluate`: test metrics of a trained model, with their uncertainty."""

from __future__ import annotations

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
    collapse_warnings,
    note,
    print_report,
)
from imgcls.files import write
from imgcls.messages import UserError, some

if TYPE_CHECKING:
    import pandas as pd

    from imgcls.data import Splits
    from imgcls.evaluation import Predictions

SPLITS = ("train", "val", "test", "all")
LARGEST_CONFUSION = 12  # classes whose confusion matrix still fits a terminal
PAIRS = 10


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that imgcls train wrote.")],
    data: Data,
    split: Annotated[
        str | None,
        typer.Option(help=f"Evaluate on one of {', '.join(SPLITS)}; default test, or all where other data lack it."),
    ] = None,
    format: Format = "table",
    out: Out = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Also report top-k accuracy: the class is among the k most probable."),
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(help="Draw the confusion matrix to this file, such as confusion.png.")
    ] = None,
    per_image: Annotated[
        Path | None,
        typer.Option(help="Write a CSV row of every image to this file: true and predicted class, confidence, loss."),
    ] = None,
    device: Device = None,
) -> None:
    """Report test metrics with 95 % confidence intervals.

    Images are preprocessed as in training, and the training data are split as in training. Other data are not split: if
    they have no test split, all of their images are evaluated. Classes are matched by name; the data may lack classes
    of the model. Accuracy has a Wilson interval; balanced accuracy (the mean recall of the classes) combines the Wilson
    intervals of the recalls. The temperature was fitted on the validation images.

    \b
      imgcls evaluate build/runs/photos-resnet18 photos.zip
      imgcls evaluate build/runs/photos-resnet18 more/test --format json --out new.json
      imgcls evaluate build/runs/photos-resnet18 photos.zip --confusion confusion.png --per-image images.csv
    """  # noqa: D301 - \b keeps the lines of the examples
    from imgcls.data import DataError
    from imgcls.evaluation import predict_checked
    from imgcls.models import open_run, temperature_of

    if split is not None:
        check_choice("split", split, SPLITS)
    check_choice("format", format, FORMATS)
    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it, such as {out / 'evaluation.json'}")
    for option, file, ending in (("--confusion", confusion, ".png"), ("--per-image", per_image, ".csv")):
        if file is not None and (file.suffix != ending or file.is_dir()):
            raise UserError(f"{option} {file}: name a file that ends in {ending}")
    model, card = open_run(run)
    temperature = temperature_of(card)
    splits, split, notes = _load(data, card, run, split)
    chosen = [part for name, part in splits.items() if split in (name, "all") and len(part)]
    if not chosen:
        raise DataError(f"the {split} split of {data} has no image; choose another --split")
    predictions = predict_checked(model, *chosen)
    top_k = top_k and min(top_k, len(predictions.classes))
    results = {
        "run": str(run),
        "data": {"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        "split": split,
        **classification_metrics(predictions, temperature),
        **({} if top_k is None else {"top_k_accuracy": {"k": top_k, **asdict(predictions.top_k_accuracy(top_k))}}),
        "confusion": {"classes": list(predictions.classes), "counts": predictions.confusion().tolist()},
        "most_confused": predictions.most_confused(PAIRS).to_dict("records"),
        "skipped": [asdict(file) for file in splits.skipped],
        "notes": [*notes, *_absent(predictions)],
        "warnings": collapse_warnings(predictions),
    }
    for kind in ("note", "warning"):
        for text in results[f"{kind}s"]:
            note(text, kind)
    print_report(results, _as_text, format, out)
    calibrated = predictions.with_temperature(temperature)
    if per_image is not None:
        write(per_image, per_image_table(calibrated).to_csv(index=False, lineterminator="\n"))
    if confusion is not None:
        from imgcls import plots  # slow to import, and seldom used

        plots.save(plots.confusion(predictions.confusion(), predictions.classes), confusion)


def per_image_table(predictions: Predictions) -> pd.DataFrame:
    """A row for each image, the largest loss first: image, true, predicted, correct, confidence, p_true and loss."""
    import numpy as np
    import pandas as pd

    names = np.array(predictions.classes, dtype=object)
    table = pd.DataFrame(
        {
            "image": predictions.names,
            "true": names[predictions.labels],
            "predicted": names[predictions.predicted],
            "correct": predictions.correct.numpy(),
            "confidence": predictions.confidence.numpy().round(6),
            "p_true": predictions.losses.neg().exp().numpy().round(6),
            "loss": predictions.losses.numpy().round(6),
        }
    )
    return table.sort_values("loss", ascending=False, kind="stable")


def _load(data: str, card: Mapping[str, Any], run: Path, split: str | None) -> tuple[Splits, str, list[str]]:
    """The images with the settings of the card and its classes, the name of the split to evaluate, and notes."""
    from imgcls.data import DataError, load, locate
    from imgcls.data.splits import match_class
    from imgcls.models import resize_of

    settings = {
        "image_size": card["image_size"],
        "channels": card["channels"],
        "resize": resize_of(card),
        "seed": card.get("seed", 0),
    }
    # Only of the training data: the test split of others is theirs.
    again = bool(card.get("split_again")) and card["data"]["name"] == locate(data).name
    there = load(data, partial=True, split_again=again, **settings)
    ours = tuple(card["classes"])
    spelled = {match_class(name, there.classes): name for name in ours}
    if unknown := [name for name in there.classes if name not in spelled]:
        raise DataError(
            f"{data} has classes unknown to the model in {run}: {some(unknown)}; leave their folders out, rename them "
            f"as the model does ({some(ours)}), or train a model on these data"
        )
    notes = [f"the class {name!r} is treated as {spelled[name]!r}" for name in there.classes if spelled[name] != name]
    if split != "all" and (split or "test") not in there.given and _drawn_in_training(card, there):
        split = split or "test"
        splits = load(data, classes=ours, split_again=again, **settings)
    else:
        split = split or ("test" if "test" in there.given else "all")
        if split not in ("all", *there.given):
            given = f"it has {' and '.join(there.given)}" if there.given else "it is not split"
            raise DataError(f"{data} has no {split} split: {given}; leave out --split, or choose --split all")
        splits = (
            there if there.classes == ours else load(data, partial=True, classes=ours, split_again=again, **settings)
        )
    return splits, split, [*notes, *_notes(card, there, split)]


def _drawn_in_training(card: Mapping[str, Any], there: Splits) -> bool:
    """Whether training may have drawn its splits from these data: the same, changed since, or of unknown origin."""
    trained_on = card.get("data")
    if isinstance(trained_on, Mapping) and trained_on.get("fingerprint") == there.fingerprint:
        return True
    known = isinstance(trained_on, Mapping) and "name" in trained_on
    complete = len(there.train.labels.unique()) == len(card["classes"])  # `partial` has put undivided images there
    return complete and not (known and trained_on["name"] != there.name)


def _absent(predictions: Predictions) -> list[str]:
    """A note that names the classes without images."""
    counts = predictions.labels.bincount(minlength=len(predictions.classes)).tolist()
    absent = [name for name, count in zip(predictions.classes, counts, strict=True) if not count]
    if not absent:
        return []
    return [f"no image of {some(absent)}: balanced accuracy is the mean recall of the other classes"]


def _notes(card: Mapping[str, Any], splits: Splits, split: str) -> list[str]:
    """Whether the evaluated images may have been used in training."""
    trained_on = card.get("data")
    if not isinstance(trained_on, Mapping) or "fingerprint" not in trained_on:
        return []
    if trained_on["fingerprint"] != splits.fingerprint:
        total = sum(len(part) for _, part in splits.items())
        whole = split == "all" or len(getattr(splits, split)) == total
        advice = "" if whole else f"; --split all evaluates all {total:,} images"
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


def _as_text(results: Mapping[str, Any]) -> str:
    import pandas as pd

    from imgcls.evaluation.statistics import Interval

    lines = [f"{results['data']['name']}, {results['split']}: {results['n']:,} images"]
    for name in ("accuracy", "balanced_accuracy"):
        lines.append(f"{name.replace('_', ' '):<19}{Interval(**results[name])}")
    if "top_k_accuracy" in results:
        k, *interval = results["top_k_accuracy"].values()
        lines.append(f"{f'top-{k} accuracy':<19}{Interval(*interval)}")
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
