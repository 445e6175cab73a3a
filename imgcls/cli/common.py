"""What several commands share: options and their old names, the augmentation, metrics as JSON, messages.

The modules of the commands import PyTorch and what needs it inside their functions: help must be quick.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from imgcls.files import write
from imgcls.messages import did_you_mean

if TYPE_CHECKING:
    from imgcls.evaluation import Predictions
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

Data = Annotated[
    str, typer.Argument(help="Folder, .zip or .tar of CLASS/IMAGE files, or a name from `imgcls data list`.")
]
Model = Annotated[str, typer.Option(help="Train the network of this name; `imgcls models` lists all.")]
ImageSize = Annotated[int, typer.Option(help="Resize images to squares of this side, in pixels.")]
Resize = Annotated[
    str, typer.Option(help="Make images square: crop keeps the centre alone, squash distorts, pad adds borders.")
]
Grayscale = Annotated[bool, typer.Option("--grayscale", help="Use one channel instead of three.")]
BatchSize = Annotated[int, typer.Option(help="Images of one step, over all processes together.")]
Augment = Annotated[bool, typer.Option(help="Augment with random crops and horizontal flips.")]
Seed = Annotated[int, typer.Option(help="Random seed for the split, initialisation, shuffling and augmentation.")]
Device = Annotated[
    str | None,
    typer.Option(help="Compute on cpu, cuda, cuda:1 or mps; default the fastest here.", callback=use),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only errors, warnings and notes.")]
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
                print(f"\ninterrupted{': the same command continues' if again else ''}", file=sys.stderr)
            raise typer.Exit(130) from None


def refuse_renamed_options(arguments: Iterable[str]) -> None:
    """Raise ValueError for an option of an earlier version; the message has its new name."""
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "--":
            return
        if option in RENAMED_OPTIONS:
            raise ValueError(f"the option {option} is now {RENAMED_OPTIONS[option]}")


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError with the closest choices, or all of them, unless the value is one."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{what} {value!r} is unknown; {did_you_mean(value, choices)}")


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
