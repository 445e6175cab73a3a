"""The command line, one module for each command."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls import __version__

if TYPE_CHECKING:
    import typer


def application() -> typer.Typer:
    """All commands. Their modules import PyTorch only when a command runs; `doctor` runs where PyTorch does not."""
    import typer

    from imgcls.app.__main__ import serve
    from imgcls.cli import data
    from imgcls.cli.common import Commands
    from imgcls.cli.doctor import doctor
    from imgcls.cli.evaluate import evaluate
    from imgcls.cli.export import export
    from imgcls.cli.models import models
    from imgcls.cli.predict import predict
    from imgcls.cli.search import search
    from imgcls.cli.train import train

    app = typer.Typer(
        cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback()(_help)
    for command in (train, search, evaluate, predict, export, models):
        app.command()(command)
    app.add_typer(data.application(), name="data")
    app.command("app")(serve)
    app.command()(doctor)
    return app


def main() -> None:
    """Run the command line; errors that the user can correct are printed in one line, all others as a traceback."""
    if sys.argv[1:] == ["--version"]:
        print(f"imgcls {__version__}")
        return
    if "--traceback" in sys.argv:
        sys.argv.remove("--traceback")
        os.environ["IMGCLS_TRACEBACK"] = "1"  # for the processes that this one starts too
    try:
        from imgcls import paths
        from imgcls.cli.common import refuse_renamed_options

        paths.complete_environment()
        if os.environ.get("IMGCLS_TRACEBACK", "0") == "0":
            warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # without its place in the code
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names may have letters that its encoding lacks
                stream.reconfigure(errors="backslashreplace")
        here, running = Path.cwd() / "imgcls", Path(__file__).resolve().parent.parent
        if (here / "cli").is_dir() and here.resolve() != running:
            print(f"note: this runs the code in {running}, not that in {here}; make env sets it up", file=sys.stderr)
        refuse_renamed_options(sys.argv[1:])
        application()()
    except KeyboardInterrupt:  # before there is a command
        sys.exit(130)
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        if os.environ.get("IMGCLS_TRACEBACK", "0") != "0" or not _is_for_users(error):
            raise
        if os.environ.get("RANK", "0") == "0":  # one of several processes is enough
            print(f"error: {error}{_advice(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        if "imgcls.training" in sys.modules:
            from imgcls.training import destroy_process_group

            destroy_process_group()


def _advice(error: Exception) -> str:
    """What to do where a disk is full or a folder of the project cannot be written; empty for other errors."""
    from imgcls import paths

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "; free some space, then run the same command again"
    if not isinstance(error, OSError) or not error.filename:
        return ""
    root, file = Path(paths.ROOT).absolute(), Path(os.fsdecode(error.filename)).absolute()
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and root in file.parents
    return "; set IMGCLS_ROOT to a folder that you can write to" if denied or file == root else ""


def _is_for_users(error: Exception) -> bool:
    """Whether the message suffices; others, of PyTorch for example, are bugs here, and only a traceback finds those."""
    from imgcls.messages import UserError

    if isinstance(error, ImportError):
        return (error.name or "").partition(".")[0] not in ("imgcls", "menagerie")
    if isinstance(error, RuntimeError):
        from imgcls.training import TrainingDiverged

        return isinstance(error, TrainingDiverged)
    return isinstance(error, UserError | OSError)


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
      imgcls --version                                print the version

    With --traceback, or IMGCLS_TRACEBACK=1, an error shows where it arose.
    """  # noqa: D301 - \b keeps the lines of the examples
