"""The command line, one module for each command."""

import os
import sys

import typer


def application(doctor_alone: bool = False) -> typer.Typer:
    """All commands, or only `doctor`, which has to run where PyTorch does not."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_help)
    from imgcls.cli.doctor import doctor

    if not doctor_alone:
        from imgcls.cli import data
        from imgcls.cli.evaluate import evaluate
        from imgcls.cli.export import export
        from imgcls.cli.models import models
        from imgcls.cli.predict import predict
        from imgcls.cli.search import search
        from imgcls.cli.train import train

        for command in (train, search, evaluate, predict, export, models):
            app.command()(command)
        app.add_typer(data.application(), name="data")
    app.command()(doctor)
    return app


def main() -> None:
    """Run the command line; errors that the user can correct are printed in one line, without a traceback."""
    if sys.argv[1:2] == ["doctor"]:
        application(doctor_alone=True)()
        return
    from imgcls.cli.common import refuse_renamed_options
    from imgcls.training import TrainingDiverged, destroy_process_group

    try:
        refuse_renamed_options(sys.argv[1:])
        application()()
    except (ValueError, TrainingDiverged, ImportError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # one of several processes is enough
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        destroy_process_group()


def _help() -> None:
    """Train image classifiers, evaluate them on test images, and classify other images.

    \b
      imgcls data get cifar10                         download a data set; imgcls data list shows all
      imgcls data check photos.zip                    show classes, splits, duplicates and unreadable files
      imgcls train photos.zip --out run               train a classifier and save it to a folder
      imgcls evaluate run photos.zip                  report test metrics with 95 % confidence intervals
      imgcls predict run holiday/*.jpg                classify other images
      imgcls export run                               write the model as one ONNX file for other programs
      imgcls doctor                                   check whether the course runs on this machine
    """  # noqa: D301 - \b keeps the lines of the examples
