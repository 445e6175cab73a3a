"""`imgcls data list`, `get` and `check`: the sets of the course, and what is in one."""

import json
from typing import Annotated

import pandas as pd
import typer
from typer.core import TyperGroup

import imgcls.data
import menagerie
from imgcls.cli.common import check_choice, note
from imgcls.cli.data import FORMATS, data
from imgcls.data import catalogue
from imgcls.data.sources import LAYOUT


class _ChecksByDefault(TyperGroup):
    """`imgcls data photos.zip` means `imgcls data check photos.zip`, and `imgcls data` alone lists."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list" if not args or (args[0] == "--format" and len(args) == 2) else "check", *args]
        return super().parse_args(ctx, args)


def application() -> typer.Typer:
    """The three commands."""
    app = typer.Typer(cls=_ChecksByDefault, add_completion=False, rich_markup_mode=None)
    app.callback()(_about)
    app.command("list")(list_sets)
    app.command("get")(get)
    app.command("check")(data)
    return app


def _about() -> None:
    """Show the sets of the course, bring one, or look into any.

    \b
      imgcls data list                     generated sets, and real ones with their way in
      imgcls data get cifar10              bring a real set to data/
      imgcls data check photos.zip         what training would get; `imgcls data photos.zip` does the same
    """  # noqa: D301 - \b keeps the lines of the examples


def list_sets(
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
) -> None:
    """List the generated sets, and the real ones with where they are or how they get here."""
    check_choice("format", format, FORMATS)
    generated = [
        {
            "name": f"menagerie/{name}",
            "classes": len(subset.classes),
            **menagerie.sizes(name),
            "size": subset.image_size,
        }
        for name, subset in menagerie.subsets().items()
    ]
    real = []
    for name, entry in catalogue.CATALOGUE.items():
        found = catalogue.find(name)
        real.append({"name": name, "case": entry.case, "what": entry.title, "path": found and str(found),
                     "steps": entry.steps})  # fmt: skip
    if format == "json":
        typer.echo(json.dumps(generated + real, indent=2))
        return
    typer.echo(
        f"generated sets, rendered where they are used (size: px that tell the classes apart with ease)\n\n"
        f"{pd.DataFrame(generated).to_string(index=False)}\n\nreal sets\n"
    )
    for one in real:
        where = f"here: {one['path']}" if one["path"] else f"to bring it: {one['steps']}"
        typer.echo(f"  {one['name']} (case {one['case']}): {one['what']}\n      {where}")
    typer.echo(f"\nyour own images: the path of a folder, .zip or .tar with {LAYOUT}; archives are read in place")


def get(name: Annotated[str, typer.Argument(help="A name of `imgcls data list`.")]) -> None:
    """Bring a real set to data/. What was interrupted goes on where it stopped; what is there is left alone."""
    was = catalogue.find(known) if (known := catalogue.key(name)) else None
    path = imgcls.data.download(name)
    note(f"{known} is {'already' if was else 'now'} in {path}; look into it with: imgcls data check {known}")
    typer.echo(path)
