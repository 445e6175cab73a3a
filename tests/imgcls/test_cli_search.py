"""`imgcls search`: from a folder of images to settings that `imgcls train` reaches the same accuracy with."""

import json
import re
import shlex
import sys

import pytest
from conftest import colour_split, write_photos
from optuna.distributions import FloatDistribution, IntDistribution

from imgcls import cli
from imgcls.cli.search import default_space, parse_space
from imgcls.data import load
from imgcls.search import read_study
from imgcls.training import Recipe


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), colour_split(240, seed=1, size=16, noise=60))


@pytest.fixture
def imgcls(monkeypatch, capsys, own_folders):
    """Run a command in this process; its exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["imgcls", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


SETTINGS = ("--model", "simple_cnn", "--image-size", 16, "--epochs", 2, "--batch-size", 32)
LR = ("--space", "lr=1e-4..1e-1:log")


def test_the_line_at_the_end_trains_the_best_trial_again(photos, imgcls, tmp_path, monkeypatch):
    storage = tmp_path / "study.db"
    code, out, err = imgcls("search", photos, *SETTINGS, *LR, "--no-augment", "--trials", 5, "--storage", storage)
    assert code == 0
    assert "3 classes (blue, green, red)" in out
    assert "simple_cnn, 5 trials of 2 epochs; study 'tpe' in" in out
    assert "lr  0.0001 to 0.1 on a log scale" in out
    assert err.count("\n") == 1
    assert "5 of 5 trials · " in err
    study = read_study(storage, "tpe")
    best = re.search(r"best trials\n.*\n +(\d+) +(\S+) %", out)
    assert int(best[1]) == study.best_trial.number
    assert float(best[2]) == pytest.approx(100 * study.best_value, abs=0.051)
    assert "importances are shown from 12 completed trials on, here 5: fewer are mostly noise" in out
    monkeypatch.setattr("imgcls.cli.search.WORTH_READING", 5)
    _, out, _ = imgcls("search", photos, *SETTINGS, *LR, "--no-augment", "--trials", 5, "--storage", storage)
    assert re.search(r"importances.*5 trials\nlr +100 %", out)

    words = shlex.split(next(line for line in out.splitlines() if line.startswith("train: ")))[1:]
    assert float(words[words.index("--lr") + 1]) == study.best_params["lr"]
    run = tmp_path / "run"
    code, _, _ = imgcls(*words[1:], "--out", run)
    assert code == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validation"]["accuracy"]["value"] == study.best_value


def test_the_same_command_continues_and_another_is_refused(photos, imgcls, own_folders):
    command = ("search", photos, *SETTINGS, "--space", "filters=4,8", *LR, "--sampler", "random", "--grayscale")
    assert imgcls(*command, "--trials", 2)[0] == 0
    code, out, err = imgcls(*command, "--trials", 3)
    assert code == 0
    assert "3 of 3 trials" in err
    (storage,) = (own_folders / "build" / "searches").iterdir()
    assert storage.name == f"{photos.name}-simple_cnn.db"
    study = read_study(storage)
    assert study.study_name == "random"
    assert len(study.trials) == 3
    line = next(line for line in out.splitlines() if line.startswith("train: "))
    assert "--grayscale" in line
    assert f"--set filters={study.best_params['filters']}" in line
    code, _, _ = imgcls(*shlex.split(line)[2:], "--quiet", "--out", own_folders / "best")
    assert code == 0
    metrics = json.loads((own_folders / "best" / "metrics.json").read_text())
    assert metrics["validation"]["accuracy"]["value"] == study.best_value
    code, out, err = imgcls("train", photos, *SETTINGS, "--set", "filtrs=8")
    assert (code, out, "--set 'filtrs=8': simple_cnn has no 'filtrs'; did you mean 'filters'?" in err) == (2, "", True)
    code, _, err = imgcls(*command, "--trials", 3, "--epochs", 1)
    assert code == 2
    assert "epochs was 2, now 1" in err
    assert "Traceback" not in err


def test_pictures_become_square_as_the_option_says(photos, imgcls, monkeypatch):
    loaded = []

    def note(*data, resize, **settings):
        loaded.append(resize)
        return load(*data, resize=resize, **settings)

    monkeypatch.setattr("imgcls.data.load", note)
    for options in ((), ("--resize", "pad")):
        assert imgcls("search", photos, *SETTINGS, *LR, "--trials", 1, *options)[0] == 0
    assert loaded == ["crop", "pad"]
    code, _, err = imgcls("search", photos, *SETTINGS, *LR, "--trials", 1, "--resize", "padd")
    assert (code, "unknown resize 'padd'; did you mean 'pad'?" in err) == (2, True)


def test_a_budget_of_epochs_sets_the_number_of_trials(photos, imgcls, tmp_path):
    command = ("search", photos, *SETTINGS, *LR, "--max-epochs", 7, "--storage", tmp_path / "study.sqlite")
    code, out, err = imgcls(*command)
    assert code == 0
    assert "simple_cnn, trials of 2 epochs, at most 7 epochs together" in out
    assert "3 trials · 6 of 7 epochs" in err


def test_no_completed_trial_is_a_warning(photos, imgcls, tmp_path):
    code, out, err = imgcls("search", photos, *SETTINGS, "--space", "lr=1e30,2e30", "--trials", 2)
    assert code == 0
    assert "warning: no trial was completed" in err
    assert "train:" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--space", "flters=2,3"), "simple_cnn has no 'flters'; did you mean 'filters'"),
        (("--space", "lr"), "--space 'lr': write NAME=VALUES, such as lr="),
        (("--space", "lr=1e-4.1e-1"), "lr takes numbers, not '1e-4.1e-1'"),
        (("--space", "lr=1e-1..1e-4"), "`low <= high` must hold"),
        (("--space", "lr=1e-4..1e-1:lgo"), "the scale 'lgo' is unknown; did you mean 'log'?"),
        (("--space", "lr=-1,0.1"), "lr must be positive, got -1.0"),
        (("--space", "filters=16..32.5"), "filters takes whole numbers, not '32.5'"),
        (("--space", "batch_norm=yes,true"), "batch_norm 'yes' is unknown; choose from true, false"),
        (("--space", "batch_norm=false..true"), "only numbers have a range"),
        (("--space", "init=he,glorott"), "unknown init 'glorott' for 'simple_cnn'; did you mean 'glorot'?"),
        (("--space", "blocks=3,9"), "9 poolings halve images of 16 px down to nothing"),
        (("--space", "lr=0.1,0.1"), "lists a value twice"),
        (("--space", "lr=0.1,0.2", "--space", "lr=0.3,0.4"), "names 'lr' twice"),
        (("--sampler", "tpee"), "sampler 'tpee' is unknown; did you mean 'tpe'?"),
        (("--storage", "study.json"), "write study.db or postgresql://user"),
        (("--storage", "study.journal"), "journal files are no longer read"),
        (("--storage", "postgress://me@host/x"), "did you mean 'postgresql'"),
        (("--model", "simple_cn"), "did you mean 'simple_cnn'"),
        (("--optimizer", "sdg"), "optimizer 'sdg' is unknown"),
        (("--trials", "0"), "Invalid value for '--trials'"),
    ],
)
def test_mistakes_are_named_before_any_image_is_decoded(photos, imgcls, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setattr("imgcls.data.load", lambda *_, **__: pytest.fail("the data were loaded"))
    code, _, err = imgcls("search", photos, *SETTINGS, *arguments)
    assert code == 2
    assert message in err
    assert not list(tmp_path.rglob("*.db"))


def test_a_mistyped_data_set_leaves_no_file(imgcls, tmp_path):
    code, _, err = imgcls("search", "nowhere.zip", *SETTINGS)
    assert code == 2
    assert "no folder or archive at" in err
    assert not list(tmp_path.rglob("*.db"))


def test_a_space_is_parsed():
    texts = ["lr=1e-4..1e-1:log", "dropout=0..0.5", "filters=16..64", "layers=3,4", "batch_norm=true,FALSE",
             "activation=relu, gelu", "early_stopping_patience=2,3"]  # fmt: skip
    assert parse_space(texts, "configurable_cnn", 32, Recipe()) == {
        "lr": FloatDistribution(1e-4, 0.1, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
        "filters": IntDistribution(16, 64),
        "layers": (3, 4),
        "batch_norm": (True, False),
        "activation": ("relu", "gelu"),
        "early_stopping_patience": (2, 3),
    }


def test_the_default_space():
    for model in ("resnet18", "simple_cnn", "configurable_cnn", "cifar_dropout", "zfnet"):
        space = default_space(model, 64, Recipe())
        assert list(space)[:2] == ["lr", "weight_decay"]
        assert (len(space) == 2) == (model == "resnet18")
    assert default_space("configurable_cnn", 64, Recipe())["layers"] == (3, 4, 5)
    small = default_space("configurable_cnn", 16, Recipe())  # five poolings leave nothing of 16 px
    assert small["layers"] == (3, 4)
    assert small["hidden_features"] == (128, 256, 512)
    assert default_space("resnet18", 64, Recipe(optimizer="adamw"))["lr"].high < 0.1
