"""The command line, one module for each command."""

import os
import sys

import typer

from imgcls.cli.train import train
from imgcls.models import MissingWeights
from imgcls.training import TrainingDiverged, leave

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(train)


@app.callback()
def commands() -> None:
    """Train image classifiers from the command line."""


def main() -> None:
    """Run the command line; what the user can mend is said in one line, without a traceback."""
    try:
        app()
    except (ValueError, MissingWeights, TrainingDiverged, ImportError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        leave()
