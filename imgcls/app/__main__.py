"""Serve the page: python -m imgcls.app."""

from pathlib import Path
from typing import Annotated

import typer

from imgcls.app.answers import MAX_BYTES

PAGE = Path(__file__).with_name("page.py")
SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
TAKEN = 4 * MAX_BYTES  # by the server; what the page then refuses, it can say why
OPTIONS = {
    "server.address": "localhost",  # nobody else on the network can ask
    "server.allowedHosts": "localhost",  # nor a page elsewhere whose name was made to point here
    "server.maxUploadSize": TAKEN // 2**20,
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # a traceback belongs in the terminal
    "client.toolbarMode": "viewer",
    "theme.font": SANS,  # of the machine: no font is fetched
    "theme.codeFont": MONO,
    "theme.baseRadius": "4px",
    # The colours of the reports (course/reports/template/style.css).
    "theme.light.backgroundColor": "#fdfcfa",
    "theme.light.secondaryBackgroundColor": "#f5f3ee",
    "theme.light.textColor": "#22262b",
    "theme.light.primaryColor": "#0d5c6b",
    "theme.light.linkColor": "#0d5c6b",
    "theme.light.borderColor": "#e0dcd3",
    "theme.dark.backgroundColor": "#15181b",
    "theme.dark.secondaryBackgroundColor": "#1d2125",
    "theme.dark.textColor": "#dcdfe2",
    "theme.dark.primaryColor": "#76c3d2",
    "theme.dark.linkColor": "#76c3d2",
    "theme.dark.borderColor": "#32383e",
}


def serve(
    port: Annotated[int | None, typer.Option(help="Port; the first free one from 8501 on if left out.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
) -> None:
    """Open a page that asks the runs under build/ about a picture. Ctrl-C ends it."""
    from streamlit.web.cli import main as streamlit

    keep_uploads_in_memory()
    options = OPTIONS | {"server.headless": str(headless).lower()} | ({"server.port": port} if port else {})
    streamlit(["run", str(PAGE), *(f"--{name}={value}" for name, value in options.items())], prog_name="streamlit")


def keep_uploads_in_memory() -> None:
    """Uploads shall not reach the disk: left alone, the server puts those beyond a megabyte into a temporary file."""
    from starlette.formparsers import MultiPartParser

    MultiPartParser.spool_max_size = 2 * TAKEN  # the server itself ends a request longer than that


if __name__ == "__main__":
    typer.run(serve)
