"""The commands behind `make reports`; each is also usable by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from course.reports import parameters
from course.reports.errors import ReportError, RequestError
from imgcls import paths

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run notebooks, render reports and write their index.",
)
Name = Annotated[str, typer.Argument(help="Notebook, such as 05 or 05_cifar_ten.")]
Profile = Annotated[str, typer.Option(help="Settings: default, or the name of a file in notebooks/profiles/.")]
Data = Annotated[str | None, typer.Option(help="Folder, archive, name from `imgcls data` or menagerie/SUBSET.")]
Assignments = Annotated[
    list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="Set a parameter of the notebook; repeatable.")
]
Timeout = Annotated[float, typer.Option(help="Time limit for the whole notebook, in seconds.")]


@app.command()
def check(
    name: Name,
    profile: Profile = "default",
    data: Data = None,
    p: Assignments = None,
    stamp: Annotated[bool, typer.Option("--stamp", help="Write the inputs to a file for make; print nothing.")] = False,
) -> None:
    """Check the names and types of parameters without running anything."""
    try:
        request = parameters.check(name, profile, data, p or ())
    except RequestError:
        if stamp and profile in parameters.profiles():
            from course.reports.index import write_index

            write_index(profile)  # make stops here for this notebook; readers need the index nevertheless
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
    """Run a notebook and write the executed copy and its log to build/executed/."""
    request = parameters.check(name, profile, data, p or ())
    from course.reports import run

    run.execute(request, timeout)


@app.command()
def render(name: Name, profile: Profile = "default") -> None:
    """Render an executed notebook to reports/NAME.html without running it."""
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
def index(profile: Profile = "default") -> None:
    """Write the index page of all reports of a profile."""
    parameters.check_profile(profile)
    from course.reports.index import write_index

    print(write_index(profile))


@app.command()
def figures(profile: Profile = "default") -> None:
    """Copy figures and numbers of the finished reports to figures/, and bring README's tables up to date."""
    from course.documents import write_documents
    from course.reports.figures import write_figures

    written = write_figures(profile)
    if not written:
        raise RequestError(f"no finished report in profile {profile!r}; run make reports PROFILE={profile} first")
    write_documents()
    for path in written:
        print(path)


@app.command()
def estimate(profile: Profile = "default", p: Assignments = None) -> None:
    """Estimate how long the notebooks that are not up to date will take on this machine."""
    parameters.check_profile(profile)
    from course.reports import duration

    if text := duration.estimate(profile, p or ()):
        print(text, file=sys.stderr)


@app.command()
def record(profile: Profile = "default") -> None:
    """Record how long the finished notebooks took, and the speed of this machine, for later estimates."""
    parameters.check_profile(profile)
    from course.reports import duration

    print(duration.write_record(profile))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of reports, such as reports/.")],
    second: Annotated[Path, typer.Argument(help="Folder with another build of them.")],
    most: Annotated[int, typer.Option(help="Number of differences to show.")] = 20,
) -> None:
    """Compare two builds of the reports except for times; exit 1 if a result or a page differs."""
    from course.reports.compare import differences

    found = list(differences(first, second))
    if not found:
        print("equal, apart from times")
        return
    for difference in found[:most]:
        print(difference)
    print(f"{len(found):,} difference{'s' if len(found) > 1 else ''}", file=sys.stderr)
    raise typer.Exit(1)


def main() -> None:
    """Run one command; exit 2 for an invalid request, 1 for a failure, 130 for an interruption."""
    try:
        paths.complete_environment()
        if not paths.NOTEBOOKS.is_dir():
            raise RequestError(f"reports need a checkout, and {paths.ROOT} is none: set IMGCLS_ROOT to its folder")
        app()
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ReportError, OSError) as error:  # OSError: a full disk, a folder that is not writable
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
