"""How `imgcls` starts: help at once, in every environment, and ends that print no traceback."""

import os
import subprocess
import sys
import warnings

import pytest
import torch

from imgcls import __version__, cli, models, precision, search, training
from imgcls.cli import common
from imgcls.data import DataError, decoding, load
from imgcls.messages import UserError
from imgcls.tracking import start
from imgcls.training import TrainingDiverged

HEAVY = ("torch", "torchvision", "timm", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "seaborn", "optuna",
         "accelerate", "onnxruntime", "PIL", "streamlit", "menagerie")  # fmt: skip


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "train --help",
        "search --help",
        "evaluate --help",
        "predict --help",
        "export --help",
        "data --help",
        "app --help",
        "trian",
    ],
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


def test_another_checkout_than_the_current_folder_is_noted(tmp_path):
    """The command of a copied folder may run the original's code."""
    (tmp_path / "imgcls" / "cli").mkdir(parents=True)
    code = "import sys; sys.path.pop(0); from imgcls.cli import main; main()"
    assert f"not that in {tmp_path / 'imgcls'}" in python(code, "--help", cwd=tmp_path).stderr
    assert not python(code, "--help").stderr


def test_a_name_that_the_terminal_cannot_show_is_escaped():
    code = "from imgcls.cli import main; main()"
    done = python(code, "models", "猫", env=os.environ | {"PYTHONIOENCODING": "cp1252"}, encoding="cp1252")
    assert done.returncode == 2
    assert done.stderr.startswith(r"error: unknown model '\u732b'; choose from")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("command", ["train", "models"])
def test_ctrl_c_is_one_line_and_status_130(command):
    code = (
        "import os, signal, sys, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import imgcls.cli.{command}\n"
        "class Interrupted(types.ModuleType):\n"
        "    def __getattr__(self, name): os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.modules['imgcls.models'] = Interrupted('imgcls.models')\n"  # while the command imports
        "from imgcls.cli import main; main()"
    )
    done = python(code, command, *(["photos"] if command == "train" else []))
    said = "interrupted: run the same command again to continue" if command == "train" else "interrupted"
    assert (done.returncode, done.stderr.strip()) == (130, said)


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["imgcls", "--version"])
    cli.main()
    assert capsys.readouterr().out == f"imgcls {__version__}\n"


def test_a_device_is_chosen_by_name_and_a_missing_one_is_refused(monkeypatch):
    monkeypatch.setenv("IMGCLS_DEVICE", "cpu:0")
    assert precision.pick_device() == torch.device("cpu:0")
    for name in ("quantum", "cuda:99", "meta"):
        monkeypatch.setenv("IMGCLS_DEVICE", name)
        with pytest.raises(ValueError, match=f"there is no device '{name}' here .*; choose cpu, cuda"):
            precision.pick_device()
    monkeypatch.delenv("IMGCLS_DEVICE")
    assert common.use(None) is None
    assert "IMGCLS_DEVICE" not in os.environ


def test_one_image_and_batch_norm_are_refused_in_our_words(tiny):
    train, val = tiny
    network = models.create_model("resnet18", 3, image_size=32)
    with pytest.raises(ValueError, match=r"batches of at least 2 images \(--batch-size\)"):
        training.fit(network, train, val, training.Recipe(epochs=1, batch_size=1), show=False)


USERS = [
    UserError("too small"), DataError("no image"), FileNotFoundError("no such file"),
    ImportError("pip install wandb"), ModuleNotFoundError("no psycopg", name="psycopg"), TrainingDiverged("nan"),
]  # fmt: skip
BUGS = [
    ValueError("torch.cat(): expected a non-empty list of Tensors"), KeyError("lr"), RuntimeError("wrong shapes"),
    ImportError("cannot import name 'x'", name="imgcls.data"),
]  # fmt: skip


@pytest.mark.parametrize("error", [*USERS, *BUGS], ids=repr)
def test_users_errors_are_one_line_and_bugs_show_where_they_are(error, monkeypatch, capsys):
    def raises(*_):
        raise error

    monkeypatch.setenv("IMGCLS_TRACEBACK", "0")
    monkeypatch.setattr(models, "minimum_size", raises)
    monkeypatch.setattr(sys, "argv", ["imgcls", "models", "resnet18"])
    with pytest.raises(SystemExit if error in USERS else type(error)) as ended:
        cli.main()
    if error in USERS:
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: {error}\n"
    monkeypatch.setattr(sys, "argv", ["imgcls", "models", "resnet18", "--traceback"])
    with pytest.raises(type(error)):
        cli.main()


def test_a_warning_is_one_line_without_its_place_in_the_code(monkeypatch, capsys):
    def warns(*_):
        warnings.warn("no font has these letters", stacklevel=1)
        raise UserError("the end")

    monkeypatch.setenv("IMGCLS_TRACEBACK", "0")
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # undone afterwards
    monkeypatch.setattr(models, "minimum_size", warns)
    monkeypatch.setattr(sys, "argv", ["imgcls", "models", "resnet18"])
    monkeypatch.setattr(warnings, "showwarning", lambda *it: sys.stderr.write(warnings.formatwarning(*it[:4])))
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "warning: no font has these letters\nerror: the end\n"


def test_a_bug_in_pytorchs_hands_prints_its_traceback():
    code = (
        "import torch, imgcls.models\n"
        "imgcls.models.minimum_size = lambda name: torch.cat([])\n"
        "from imgcls.cli import main; main()"
    )
    done = python(code, "models", "resnet18")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("ValueError: torch.cat()")


@pytest.mark.parametrize(
    ("model", "options", "why"),
    [
        ("simple_cnn", {"filters": -3}, "filters of 'simple_cnn' must be at least 1, not -3"),
        ("cifar_dropout", {"dropout": 5.0}, "'cifar_dropout' cannot be built with {'dropout': 5.0}: dropout probab"),
        ("timm:resnet18.tv_in2k", {}, "unknown weights of timm:resnet18, .*; did you mean 'timm:resnet18.tv_in1k'"),
    ],
)
def test_what_pytorch_and_timm_refuse_is_a_users_error(model, options, why):
    with pytest.raises(UserError, match=why):
        models.create_model(model, 3, image_size=32, **options)


def test_settings_out_of_range_are_users_errors(tmp_path):
    for name in ("momentum", "weight_decay"):
        with pytest.raises(UserError, match=f"{name} must not be negative, got -1"):
            training.Recipe(**{name: -1})
    with pytest.raises(UserError, match="clutter is a share from 0 to 1, not 3"):
        load("menagerie/cats_dogs", image_size=8, clutter=3, cache=tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is not JSON .*: move it away"):
        start(tmp_path, to=(), config={"lr": 1})
