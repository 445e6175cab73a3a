"""Commands of this environment, run from a notebook."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from imgcls import paths

COLUMNS = "84"  # width of the terminal that the commands see


def shell(command: str, expect: int = 0) -> None:
    """Run one command line in the project's folder and show its output and errors.

    Commands of this Python's environment are found even if it is not activated, and `imgcls` even in a checkout that
    is not installed. There is no shell: quotes work, patterns, pipes and variables are not expanded.

    Args:
        command: Such as `imgcls train photos.zip --epochs 3`.
        expect: The expected exit status.

    Raises:
        FileNotFoundError: there is no such command.
        RuntimeError: the command ends with another status; its output is shown above.
    """
    words = shlex.split(command)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = [sys.executable, "-m", "imgcls.cli"] if words[0] == "imgcls" else [shutil.which(words[0], path=path)]
    if program[0] is None:
        raise FileNotFoundError(f"there is no command {words[0]!r} in {Path(sys.executable).parent} or on the PATH")
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        [*program, *words[1:]],
        cwd=paths.ROOT,
        env=os.environ | {"PATH": path, "COLUMNS": COLUMNS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != expect:
        raise RuntimeError(f"{words[0]} ended with status {done.returncode} instead of {expect}: {command}")
