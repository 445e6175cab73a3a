"""What several commands share: options and their old names, the augmentation, metrics as JSON, messages.

The modules of the commands import PyTorch and what needs it inside their functions: help must be quick.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from imgcls.files import write
from imgcls.messages import UserError, did_you_mean, plural, some

if TYPE_CHECKING:
    from imgcls.data import Splits
    from imgcls.evaluation import Predictions
    from imgcls.training import Recipe
    from imgcls.transforms import Transform


def use(device: str | None) -> str | None:
    """Compute on this device: `pick_device` reads the variable, in the processes that this one starts too."""
    if device:
        os.environ["IMGCLS_DEVICE"] = device
    return device


FORMATS = ("table", "json")
# Copies from modules that import PyTorch; a test compares them.
OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "exponential", "cosine", "one_cycle", "plateau")
SAMPLERS = ("random", "tpe")
RESIZE = "crop"
STEPS, LEAST_BATCH = 8, 8  # of an epoch, and images, where there are few images
FULL_EPOCH = 20  # steps of an epoch, below which there are more epochs
COLLAPSED = 0.9  # fraction of predictions of one class that suggests a collapsed model

Data = Annotated[
    str, typer.Argument(help="Folder, .zip or .tar of CLASS/IMAGE files, or a name from `imgcls data list`.")
]
Model = Annotated[str, typer.Option(help="Name of the network; `imgcls models` lists all.")]
ImageSize = Annotated[int, typer.Option(help="Resize images to squares of this side, in pixels.")]
Resize = Annotated[
    str, typer.Option(help="How images become square: crop keeps the centre, squash distorts, pad adds borders.")
]
Grayscale = Annotated[bool, typer.Option("--grayscale", help="Use one channel instead of three.")]
Augment = Annotated[bool, typer.Option(help="Augment with random crops and horizontal flips.")]
Seed = Annotated[int, typer.Option(help="Random seed for the split, initialisation, shuffling and augmentation.")]
Device = Annotated[
    str | None,
    typer.Option(help="Compute on cpu, cuda, cuda:1 or mps; default: the fastest available.", callback=use),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only errors, warnings and notes.")]
SplitAgain = Annotated[
    bool, typer.Option("--split-again", help="Ignore the given splits and draw train, val and test from all images.")
]
Format = Annotated[str, typer.Option(help="Print as table or json.")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON to this file, such as report.json.")]

RENAMED_OPTIONS = {
    "--balanced": "--balanced-sampling",
    "--classes": "--num-classes",
    "--ema": "--ema-decay",
    "--explain": "--cam-dir",
    "--grey": "--grayscale",
    "--sheet": "--contact-sheet",
    "--size": "--image-size",
    "--train-count": "--max-train-images",
}


class Commands(TyperGroup):
    """The commands; Ctrl-C ends each in one line, with the exit status 130."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if "RANK" not in os.environ:  # the process that started the others says it
                again = ctx.invoked_subcommand in ("train", "search")
                print(f"\ninterrupted{': run the same command again to continue' if again else ''}", file=sys.stderr)
            raise typer.Exit(130) from None


def refuse_renamed_options(arguments: Iterable[str]) -> None:
    """Raise ValueError for an option of an earlier version; the message has its new name."""
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "--":
            return
        if option in RENAMED_OPTIONS:
            raise UserError(f"the option {option} is now {RENAMED_OPTIONS[option]}")


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError with the closest choices, or all of them, unless the value is one."""
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{what} {value!r} is unknown; {did_you_mean(value, choices)}")


def print_report(
    facts: dict[str, Any], as_text: Callable[[dict[str, Any]], str], format: str, out: Path | None
) -> None:
    """Print facts as text or as JSON, and write the JSON to a file too if one is given."""
    as_json = json.dumps(facts, indent=2)
    typer.echo(as_json if format == "json" else as_text(facts))
    if out is not None:
        write(out, as_json + "\n")


def note(text: str, kind: str = "note") -> None:
    """Print a line such as `note: …` on stderr; stdout is for results."""
    print(f"{kind}: {text}", file=sys.stderr)


def augmentation(image_size: int) -> tuple[Transform, ...]:
    """The default augmentation of `train`, and of `search`, so that its settings are valid for `train`."""
    from imgcls.transforms import RandomCrop, RandomHorizontalFlip

    return RandomCrop(padding=image_size // 8), RandomHorizontalFlip()


def classification_metrics(predictions: Predictions, temperature: float) -> dict[str, Any]:
    """Metrics of predictions as plain JSON, as `train` reports them for validation and `evaluate` for any split.

    Returns:
        n; accuracy and balanced_accuracy, each {value, low, high, n}; temperature; loss and ece without it, and
        loss_at_temperature and ece_at_temperature; per_class, rows {class, precision, recall, f1, support} in which
        a ratio of 0 to 0 is None.
    """
    calibrated = predictions.with_temperature(temperature)
    table = predictions.per_class()
    predicted = predictions.predicted.bincount(minlength=len(predictions.classes)).numpy()
    table.loc[predicted == 0, "precision"] = math.nan
    table.loc[table["support"] == 0, "recall"] = math.nan
    table.loc[predicted + table["support"] == 0, "f1"] = math.nan
    return {
        "n": len(predictions),
        "accuracy": asdict(predictions.accuracy_interval),
        "balanced_accuracy": asdict(predictions.balanced_accuracy),
        "temperature": temperature,
        "loss": predictions.loss,
        "loss_at_temperature": calibrated.loss,
        "ece": predictions.ece,
        "ece_at_temperature": calibrated.ece,
        "per_class": table.astype(object).where(table.notna(), None).to_dict("records"),
    }


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


def check_trainable(splits: Splits, data: str) -> None:
    """Raise ValueError unless there are two classes and validation images."""
    if len(splits.classes) < 2:
        images = plural(sum(len(split) for _, split in splits.items()), "image")
        raise UserError(
            f"{data} has only the class {splits.classes[0]!r} ({images}); a classifier needs at least two, each in a "
            f"folder of its own"
        )
    if not len(splits.val):
        drawn = [name for name in ("val", "test") if name not in splits.given]
        raise UserError(
            f"{data} has too few images of each class to draw {' and '.join(drawn)} from: no validation image is left; "
            f"add images until a class has {len(drawn) + 1}, or validation images in val/CLASS"
        )


def class_notes(splits: Splits) -> Iterator[str]:
    """Classes of nearly the same name, and classes without validation images."""
    from imgcls.data import lookalikes

    for group in lookalikes(splits.classes):
        yield f"the classes {' and '.join(map(repr, group))} differ in form only: if they are one, merge their folders"
    counts = splits.val.labels.bincount(minlength=len(splits.classes)).tolist()
    if absent := [name for name, count in zip(splits.classes, counts, strict=True) if not count]:
        yield f"no validation image of {some(absent)}: model selection ignores them; add images"


def fit_to_size(recipe: Recipe, images: int, given: Mapping[str, Any]) -> Recipe:
    """A default recipe with smaller batches, a lower learning rate and more epochs for few training images.

    An epoch has at least STEPS steps unless its batches would have fewer than LEAST_BATCH images. The learning rate is
    in proportion to a smaller batch, and there are as many epochs as make up for fewer than FULL_EPOCH steps in each.

    Args:
        recipe: for many images.
        images: number of training images.
        given: values of the user, which stay.

    Raises:
        ValueError: the given batch size is larger than the number of images.
    """
    fits = 2 ** int(math.log2(max(1, images // STEPS)))
    batch = given.get("batch_size") or min(recipe.batch_size, images, max(LEAST_BATCH, fits))
    if batch > images:
        raise UserError(
            f"{images} training images are fewer than one batch of {batch}: lower --batch-size, or leave it "
            "out for one that fits"
        )
    lr = recipe.lr * min(1, batch / recipe.batch_size)
    epochs = max(recipe.epochs, math.ceil(recipe.epochs * FULL_EPOCH / (images // batch)))
    return replace(recipe, **{"batch_size": batch, "lr": lr, "epochs": epochs, **given})
