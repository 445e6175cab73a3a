"""Serve the page: python -m imgcls.app."""

import socket
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from imgcls import paths
from imgcls.app import MAX_BYTES
from imgcls.messages import UserError

PAGE = Path(__file__).with_name("page.py")
THEME = Path(__file__).with_name("theme.toml")
SERVER_MAX_BYTES = 4 * MAX_BYTES  # above the page's limit, so that the page can name its reason
FIRST_PORT = 8501  # Streamlit's own
OPTIONS = {
    "server.address": "localhost",  # no access from the network
    "server.allowedHosts": "localhost",  # nor from another site by DNS rebinding
    "server.maxUploadSize": SERVER_MAX_BYTES // 2**20,
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # a traceback belongs in the terminal
    "client.toolbarMode": "minimal",  # no menu of Streamlit's own
    "logger.hideWelcomeMessage": "true",  # nor its advertisements, in the terminal and on the page
}


def serve(
    folders: Annotated[list[Path] | None, typer.Argument(help="Also list the runs below these folders.")] = None,
    port: Annotated[int | None, typer.Option(help="Serve on this port; default: the first free one from 8501.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
) -> None:
    """Open a page that classifies images with trained runs.

    It lists the runs under build/ and those trained last. Ctrl-C stops it.
    """
    for folder in folders or ():
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; name one with runs of imgcls train")
    paths.complete_environment()
    from streamlit.web.cli import main as streamlit

    keep_uploads_in_memory()
    options = OPTIONS | tomllib.loads(THEME.read_text("utf-8")) | {"server.headless": str(headless).lower()}
    options |= {"server.port": port or free_port()}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    given = ["--", *(str(folder.absolute()) for folder in folders)] if folders else []
    typer.echo(f"page: http://localhost:{options['server.port']} (Ctrl-C stops the server)")
    streamlit(["run", str(PAGE), *arguments, *given], prog_name="streamlit")


def free_port() -> int:
    """The first port of this machine from FIRST_PORT on that no other program uses."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)):
                return port
    raise UserError(f"the ports {FIRST_PORT} to {port} are in use; choose one with --port")


def keep_uploads_in_memory() -> None:
    """Keep uploads off the disk: by default the server writes those above a megabyte to a temporary file."""
    from starlette.formparsers import MultiPartParser

    MultiPartParser.spool_max_size = 2 * SERVER_MAX_BYTES  # the server rejects longer requests


if __name__ == "__main__":
    typer.run(serve)
