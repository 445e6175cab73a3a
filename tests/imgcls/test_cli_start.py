"""How `imgcls` starts: help at once, in every environment, and ends that print no traceback."""

import subprocess
import sys

import pytest

from imgcls import search, training
from imgcls.cli import common
from imgcls.data import decoding

HEAVY = ("torch", "torchvision", "timm", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "seaborn", "optuna",
         "accelerate", "onnxruntime", "PIL", "streamlit", "menagerie")  # fmt: skip


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    "arguments", ["--help", "train --help", "search --help", "predict --help", "data --help", "app --help", "trian"]
)
def test_help_and_a_misspelt_command_import_nothing_heavy(arguments):
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('heavy:', *sorted(set({HEAVY!r}) & set(sys.modules))))\n"
        "from imgcls.cli import main; main()"
    )
    done = python(code, *arguments.split())
    assert done.stdout.endswith("heavy:\n"), done.stdout + done.stderr
    if arguments == "trian":
        assert done.returncode == 2
        assert "Did you mean 'train'?" in done.stderr
    else:
        assert done.returncode == 0
        assert "Usage: " in done.stdout


def test_copied_names_are_those_of_the_library():
    assert common.OPTIMIZERS == training.OPTIMIZERS
    assert common.SCHEDULES == training.SCHEDULES
    assert common.SAMPLERS == search.SAMPLERS
    assert common.RESIZE == decoding.RESIZE


def test_python_m_imgcls_is_the_command():
    done = subprocess.run([sys.executable, "-m", "imgcls", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "imgcls train photos.zip --out run" in done.stdout
