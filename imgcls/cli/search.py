"""`imgcls search`: hyperparameters for a data set, found by training many networks for a short time."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls import paths
from imgcls.cli import common
from imgcls.cli.common import OPTIMIZERS, RESIZE, SAMPLERS, SCHEDULES, check_choice, note
from imgcls.cli.models import EXAMPLE, parse_value, searchable
from imgcls.cli.train import train
from imgcls.messages import UserError, did_you_mean, plural, some

if TYPE_CHECKING:
    import optuna

    from imgcls.search import Space, Value
    from imgcls.search.space import Choices
    from imgcls.training import Recipe

SHOWN = 5  # trials of the table at the end
# Completed trials from which on importances are printed. Of three hyperparameters, one of which explains nine tenths of
# the variance, fANOVA ranks that one first in 1, 10, 12 and 14 of 15 simulated studies of 3, 5, 8 and 12 random trials.
WORTH_READING = 12


def search(
    context: typer.Context,
    data: common.Data,
    model: common.Model = "resnet18",
    space: Annotated[
        list[str] | None,
        typer.Option(help=f"Search NAME=LOW..HIGH[:log] or NAME=A,B,…, {EXAMPLE}; repeatable; default: by model."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many trials; default 24 without --max-epochs.")
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Stop after this many epochs over all trials.")] = None,
    sampler: Annotated[str, typer.Option(help=f"Sampler, one of {', '.join(SAMPLERS)}.")] = "tpe",
    prune: Annotated[bool, typer.Option(help="Stop a trial early if it is below the median of the others.")] = True,
    storage: Annotated[
        str | None,
        typer.Option(help="SQLite file or postgresql://… of the study; default build/searches/DATA-MODEL.db."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study in the storage; default: the sampler.")] = None,
    image_size: common.ImageSize = 64,
    resize: common.Resize = RESIZE,
    grayscale: common.Grayscale = False,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each trial; default 5, more for few images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step; default 64, fewer for few images.")] = None,
    optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "sgd",
    schedule: Annotated[str, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")] = "one_cycle",
    augment: common.Augment = True,
    split_again: common.SplitAgain = False,
    seed: common.Seed = 0,
    device: common.Device = None,
) -> None:
    """Search for the hyperparameters with the best validation accuracy.

    The test split is not used. Repeat the command to continue an interrupted search. Processes in several terminals, or
    on several machines that reach the storage, share the trials; a trial whose process was killed is run again.

    \b
      imgcls search photos.zip --model simple_cnn --trials 20
      imgcls search photos.zip --model configurable_cnn --space lr=1e-4..1e-1:log --space filters=16,32,64
      imgcls search photos.zip --sampler random --max-epochs 100      # and --sampler tpe, at equal compute
      imgcls search photos.zip --storage postgresql://me:secret@host/studies --name photos
    """  # noqa: D301 - \b keeps the lines of the examples
    from optuna.trial import TrialState

    from imgcls import search as studies
    from imgcls.data import load
    from imgcls.models import create_model, minimum_size
    from imgcls.models.pretrained import WHEELS
    from imgcls.search.loop import TRIALS
    from imgcls.search.storage import parse_storage, shown
    from imgcls.training import Recipe

    check_choice("sampler", sampler, SAMPLERS)
    minimum_size(model)  # refuses an unknown name before any image is decoded
    recipe = Recipe(
        epochs=5, batch_size=64, optimizer=optimizer, schedule=schedule,
        transforms=common.augmentation(image_size) if augment else (),
    )  # fmt: skip
    given = {key: value for key, value in (("epochs", epochs), ("batch_size", batch_size)) if value is not None}
    replace(recipe, **given)  # refuses a wrong value before any image is decoded
    chosen = parse_space(space, model, image_size, recipe) if space else default_space(model, image_size, recipe)
    where = storage or str(paths.BUILD / "searches" / f"{Path(data).stem}-{model}.db")
    parse_storage(where)
    name = name or sampler
    channels = 1 if grayscale else 3
    splits = load(data, image_size=image_size, channels=channels, resize=resize, seed=seed, split_again=split_again)
    common.check_trainable(splits, data)
    recipe = common.fit_to_size(recipe, len(splits.train), given)
    chosen = chosen if space else default_space(model, image_size, recipe)
    trials = TRIALS if trials is None and max_epochs is None else trials
    classes = f"{plural(len(splits.classes), 'class')} ({some(splits.classes)})"
    typer.echo(f"{len(splits.train):,} images to train and {len(splits.val):,} to validate, {classes}")
    number = plural(trials, "trial") if trials else "trials"
    limit = f", at most {max_epochs} epochs together" if max_epochs else ""
    typer.echo(f"{model}, {number} of {plural(recipe.epochs, 'epoch')}{limit}; study {name!r} in {shown(where)}")
    width = max(map(len, chosen))
    for option, choices in chosen.items():
        typer.echo(f"  {option:{width}}  {_written(choices)}")
    create = partial(create_model, model, len(splits.classes), splits.train.images.shape[1], image_size=image_size)
    study = studies.search(
        create, splits.train, splits.val, recipe, chosen, trials, sampler, prune, seed, where, name, max_epochs
    )
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        note("no trial was completed: all diverged or failed; search smaller learning rates", "warning")
        return
    _print_results(study, list(chosen), seed)
    common_class = float(splits.val.labels.bincount().max()) / len(splits.val)
    if study.best_value <= common_class:
        share = f"{100 * common_class:.1f} %"
        note(f"no trial is better than predicting the most frequent class ({share}): add images or --epochs", "warning")
    typer.echo(f"\nread:  imgcls.search.read_study({shown(where)!r}, {name!r})")
    fitted = {"from_scratch": model in WHEELS, "epochs": recipe.epochs, "batch_size": recipe.batch_size}
    _print_next(data, context.params | fitted, study.best_params)


# ------------------------------------------------------------------ the space
def _network_space(model: str) -> dict[str, Choices]:
    """The space of a network, by the start of its name; empty for most."""
    from optuna.distributions import FloatDistribution

    spaces = {
        "simple_cnn": {"blocks": (2, 3, 4, 5), "filters": (16, 32, 64), "kernel_size": (3, 5),
                       "batch_norm": (False, True)},
        "configurable_cnn": {
            "layers": (3, 4, 5), "filters": (32, 64, 128), "filter_multiplier": (0.5, 1.0, 2.0), "dropout": (0.2, 0.3),
            "activation": ("relu", "gelu", "silu", "mish"), "batch_norm": (False, True),
            "hidden_features": (128, 256, 512),
        },
        "cifar": {"dropout": FloatDistribution(0.0, 0.5), "hidden_features": (64, 128, 256)},
        "zfnet": {"dropout": FloatDistribution(0.0, 0.5)},
    }  # fmt: skip
    return next((space for start, space in spaces.items() if model.startswith(start)), {})


def default_space(model: str, size: int, recipe: Recipe) -> Space:
    """Learning rate and weight decay, and for the course's own networks their shape as far as the size allows it."""
    from optuna.distributions import FloatDistribution

    adaptive = recipe.optimizer in ("adam", "adamw")
    space = {
        "lr": FloatDistribution(1e-5, 1e-2, log=True)
        if adaptive
        else FloatDistribution(1e-3, round(0.3 * min(1, recipe.batch_size / 64), 4), log=True),
        "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    }
    base = {}  # values that make a network of this size: five poolings, the usual number, are too many for small images
    for name, choices in _network_space(model).items():
        possible = tuple(value for value in _tried(choices) if not _problem(model, size, recipe, base | {name: value}))
        if possible:
            space[name] = choices if possible == _tried(choices) else possible
            base[name] = possible[0]
    return space


def parse_space(texts: list[str], model: str, size: int, recipe: Recipe) -> Space:
    """The space that the options describe; each value is checked on the recipe or on a network without weights.

    Raises:
        ValueError: it is no range or list, there is no such hyperparameter, or it does not take such values.
    """
    defaults = searchable(model)
    space = {}
    for text in texts:
        name, _, values = (part.strip() for part in text.partition("="))
        try:
            if not values:
                raise UserError(f"write NAME=VALUES, {EXAMPLE}")
            if name not in defaults:
                raise UserError(f"{model} has no {name!r}; {did_you_mean(name, defaults)}")
            if name in space:
                raise UserError(f"names {name!r} twice; put all its values into one --space")
            space[name] = _choices(name, values, defaults[name])
        except ValueError as error:
            raise UserError(f"--space {text!r}: {error}") from error
    base = {name: _tried(choices)[0] for name, choices in space.items()}
    for text, (name, choices) in zip(texts, space.items(), strict=True):
        for value in _tried(choices):
            if problem := _problem(model, size, recipe, base | {name: value}):
                raise UserError(f"--space {text!r}: {problem}")
    return space


def _tried(choices: Choices) -> tuple[Value, ...]:
    return choices if isinstance(choices, tuple) else (choices.low, choices.high)


def _choices(name: str, values: str, default: Any) -> Choices:
    """LOW..HIGH with a scale, or a list."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, dots, rest = values.partition("..")
    if not dots:
        choices = tuple(parse_value(name, value.strip(), default) for value in values.split(","))
        if len(set(choices)) < len(choices):
            raise UserError("lists a value twice")
        return choices
    high, colon, scale = (part.strip() for part in rest.partition(":"))
    if colon:
        check_choice("the scale", scale, ("log", "linear"))
    ends = [parse_value(name, end.strip(), default) for end in (low, high)]
    if any(isinstance(end, bool | str) for end in ends):
        raise UserError(f"only numbers have a range; list the choices, as in {name}=A,B")
    distribution = IntDistribution if isinstance(ends[0], int) else FloatDistribution
    return distribution(*ends, log=scale == "log")


def _problem(model: str, size: int, recipe: Recipe, params: Mapping[str, Value]) -> str:
    """Why no trial can have these values; empty if one can. The network is built without memory for its weights."""
    import torch

    from imgcls.models import create_model
    from imgcls.search import apply_params

    try:
        _, network = apply_params(params, recipe)
        with torch.device("meta"):
            create_model(model, 2, image_size=size, **network)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        return str(error) or f"{params} makes no network"
    return ""


# ------------------------------------------------------------------ output
def _written(choices: Choices) -> str:
    if isinstance(choices, tuple):
        return ", ".join(map(_cell, choices))
    return f"{choices.low:g} to {choices.high:g}{' on a log scale' if choices.log else ''}"


def _print_results(study: optuna.Study, names: list[str], seed: int) -> None:
    import pandas as pd

    from imgcls import search as studies

    table = studies.table(study)
    best = table[table["state"] == "complete"].sort_values("value", ascending=False, kind="stable").head(SHOWN)
    settings = best[["number", *names]].map(_cell)
    settings.insert(1, "validation", [f"{100 * value:.1f} %" for value in best["value"]])
    typer.echo(f"\nbest trials\n{settings.to_string(index=False)}\n")
    completed = int((table["state"] == "complete").sum())
    if completed < WORTH_READING:
        typer.echo(
            f"importances are shown from {WORTH_READING} completed trials on, here {completed}: fewer are mostly noise"
        )
        return
    try:
        shares = studies.importances(study, seed)
    except (ValueError, RuntimeError) as error:
        typer.echo(f"importances cannot be computed yet: {error}")
        return
    if shares.empty or not shares.notna().all():
        typer.echo("importances cannot be computed: all trials have the same accuracy")
        return
    lines = pd.Series([f"{100 * share:.0f} %" for share in shares], shares.index).to_string()
    typer.echo(f"importances, share of the variance in {len(table)} trials\n{lines}")


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _print_next(data: str, settings: Mapping[str, Any], drawn: Mapping[str, Value]) -> None:
    """The command that trains the best trial again."""
    words = ["imgcls", "train", data]
    parameters = inspect.signature(train).parameters
    drawn = dict(drawn)
    if "early_stopping_patience" in drawn:
        drawn["patience"] = drawn.pop("early_stopping_patience")
    for name, value in {**settings, **drawn}.items():
        option = name.replace("_", "-")
        if name not in parameters or name == "data" or value is None:
            continue
        if not isinstance(value, bool):
            words += [f"--{option}", str(value)]
        elif value != parameters[name].default:
            words.append(f"--{option}" if value else f"--no-{option}")
    for name, value in drawn.items():
        if name not in parameters:
            words += ["--set", f"{name}={value}"]
    typer.echo(f"train: {shlex.join(words)}")
