"""Serve the page: python -m imgcls.app."""

from pathlib import Path
from typing import Annotated

import typer

from imgcls.app.predictions import MAX_BYTES

PAGE = Path(__file__).with_name("page.py")
SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
SERVER_MAX_BYTES = 4 * MAX_BYTES  # above the page's limit, so that the page can name its reason
OPTIONS = {
    "server.address": "localhost",  # no access from the network
    "server.allowedHosts": "localhost",  # nor from a foreign page by DNS rebinding
    "server.maxUploadSize": SERVER_MAX_BYTES // 2**20,
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # a traceback belongs in the terminal
    "client.toolbarMode": "viewer",
    "theme.font": SANS,  # of the machine: no font is downloaded
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
    port: Annotated[int | None, typer.Option(help="Serve on this port; default the first free from 8501.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
) -> None:
    """Serve a page that classifies an image with the runs under build/. Ctrl-C stops it."""
    from streamlit.web.cli import main as streamlit

    keep_uploads_in_memory()
    options = OPTIONS | {"server.headless": str(headless).lower()} | ({"server.port": port} if port else {})
    streamlit(["run", str(PAGE), *(f"--{name}={value}" for name, value in options.items())], prog_name="streamlit")


def keep_uploads_in_memory() -> None:
    """Keep uploads off the disk: by default the server writes those above a megabyte to a temporary file."""
    from starlette.formparsers import MultiPartParser

    MultiPartParser.spool_max_size = 2 * SERVER_MAX_BYTES  # the server rejects longer requests


if __name__ == "__main__":
    typer.run(serve)
