"""The commands behind `make reports`; each is also usable by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from course.reports import parameters
from course.reports.parameters import Refused

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Run notebooks, render and index."
)
Name = Annotated[str, typer.Argument(help="05 or 05_cifar_ten")]
Profile = Annotated[str, typer.Option(help="default, or a file of notebooks/profiles/")]
Data = Annotated[str | None, typer.Option(help="folder, archive, catalogue name or menagerie/<subset>")]
Assignments = Annotated[list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="set a parameter; repeatable")]
Timeout = Annotated[float, typer.Option(help="limit for the whole notebook, in seconds")]


@app.command()
def check(
    name: Name,
    profile: Profile = "default",
    data: Data = None,
    p: Assignments = None,
    stamp: Annotated[bool, typer.Option("--stamp", help="note the inputs for make, say nothing")] = False,
) -> None:
    """Check parameters by name and type; nothing runs."""
    try:
        request = parameters.check(name, profile, data, tuple(p or ()))
    except Refused:
        if stamp and profile in parameters.profiles():
            index(profile, quiet=True)  # make stops here for this notebook, and readers find the index all the same
        raise
    if stamp:
        request.stamp()
        return
    declared = parameters.read(request.files.name)
    print(f"{request.files.name}, profile {profile}: ready to run with")
    for key, value in request.shown.items():
        changed = "" if value == declared[key].default else f"   (default: {declared[key].default!r})"
        print(f"  {key}: {declared[key].kind} = {value!r}{changed}")


@app.command()
def execute(
    name: Name, profile: Profile = "default", data: Data = None, p: Assignments = None, timeout: Timeout = 3600
) -> None:
    """Run a notebook; the executed copy and its log go to build/executed/."""
    request = parameters.check(name, profile, data, tuple(p or ()))
    from course.reports import run

    run.execute(request, timeout)


@app.command()
def render(name: Name, profile: Profile = "default") -> None:
    """Turn an executed notebook into reports/NAME.html, without running it."""
    name = parameters.find(name)
    from course.reports import export

    path = export.render(name, profile)
    print(f"{name}: rendered, {path.stat().st_size / 1e3:,.0f} kB", file=sys.stderr)


@app.command()
def run(
    name: Name, profile: Profile = "default", data: Data = None, p: Assignments = None, timeout: Timeout = 3600
) -> None:
    """Execute a notebook, render it and refresh the index."""
    execute(name, profile, data, p, timeout)
    render(name, profile)


@app.command()
def index(profile: Profile = "default", quiet: Annotated[bool, typer.Option("--quiet")] = False) -> None:
    """Write the page that collates all reports of a profile."""
    if profile not in parameters.profiles():
        raise Refused(f"unknown profile {profile!r}; there are {', '.join(parameters.profiles())}")
    from course.reports.index import write_index

    path = write_index(profile)
    if not quiet:
        print(path)


@app.command()
def figures(profile: Profile = "default") -> None:
    """Copy pictures and numbers of the finished reports to figures/, for the README."""
    from course.reports.figures import write_figures

    written = write_figures(profile)
    if not written:
        raise Refused(f"no finished report in profile {profile!r}; run make reports PROFILE={profile} first")
    for path in written:
        print(path)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="a folder of reports, such as reports/")],
    second: Annotated[Path, typer.Argument(help="the same reports, built another time")],
    most: Annotated[int, typer.Option(help="differences to show")] = 20,
) -> None:
    """Compare two builds, times aside; exit 1 if a result or a page differs."""
    from course.reports.compare import differences

    found = list(differences(first, second))
    if not found:
        print("equal, apart from times")
        return
    for one in found[:most]:
        print(one)
    print(f"{len(found):,} difference{'s' if len(found) > 1 else ''}", file=sys.stderr)
    raise typer.Exit(1)


@app.command()
def exercises() -> None:
    """Write the notebooks with dots instead of solutions to build/exercises/."""
    from course.exercises import write_editions

    for path in write_editions():
        print(path)


def main() -> None:
    """Run one command; exit 2 if it was refused, 1 if it failed, 130 if it was interrupted."""
    try:
        app()
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:
        if type(error).__name__ != "Failed":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
