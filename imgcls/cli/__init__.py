"""The command line, one module for each command."""

import os
import sys

import typer


def application(doctor_alone: bool = False) -> typer.Typer:
    """All commands; or only the one that has to run where PyTorch does not."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_about)
    from imgcls.cli.doctor import doctor

    if not doctor_alone:
        from imgcls.cli import data_sets
        from imgcls.cli.evaluate import evaluate
        from imgcls.cli.models import models
        from imgcls.cli.predict import predict
        from imgcls.cli.search import search
        from imgcls.cli.train import train

        for command in (train, search, evaluate, predict, models):
            app.command()(command)
        app.add_typer(data_sets.application(), name="data")
    app.command()(doctor)
    return app


def main() -> None:
    """Run the command line; what the user can mend is said in one line, without a traceback."""
    if sys.argv[1:2] == ["doctor"]:
        application(doctor_alone=True)()
        return
    from imgcls.training import TrainingDiverged, destroy_process_group

    try:
        application()()
    except (ValueError, TrainingDiverged, ImportError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        destroy_process_group()


def _about() -> None:
    """Train image classifiers, ask them about pictures, and find out how good their answers are.

    \b
      imgcls data get cifar10                         bring a real set; imgcls data list shows all
      imgcls data check photos.zip                    what is in it, and what training would get
      imgcls train photos.zip --out run               a folder with a model
      imgcls evaluate run photos.zip                  how good it is, on images that it has not seen
      imgcls predict run holiday/*.jpg                what it says about other pictures
      imgcls doctor                                   what would stop the course on this machine
    """  # noqa: D301 - \b keeps the lines of the examples
