"""Case 01 on a folder as its report has it: Train and Test, two classes, photographs' own sizes."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from imgcls import paths

NAME = "01_arctic_fox_vs_elephant"
QUICK = {
    "image_size": 32, "seeds": "[0,1]", "published_seeds": "[0,1]", "published_epochs": 1, "trials": 6, "epochs": 1,
    "deep_epochs": 1, "tune_epochs": 1, "biases": "[0.0,1.0]",
    "bias_epochs": 1, "train_count": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with the notebook and a folder of pictures: white ones are foxes, dark ones elephants."""
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    rng = np.random.default_rng(0)
    for split, count in (("Train", 90), ("Test", 20)):
        for label, shade in (("Arctic Fox", 200), ("Elephant", 60)):
            folder = root / "photos" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 56, (40 + i % 3, 50, 3)) + shade
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    (root / "photos" / "Train" / "Elephant" / "broken.png").write_bytes(b"no picture")
    return root


def run(root, home, **parameters):
    """`make report-01 PROFILE=real DATA=…` does this; no network can be reached."""
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "IMGCLS_ROOT": str(root), "TORCH_HOME": str(home)}
    environment |= {"http_proxy": nowhere, "https_proxy": nowhere}
    given = [part for key, value in parameters.items() for part in ("-p", f"{key}={value}")]
    command = [sys.executable, "-m", "course.reports", "run", "01", "--profile", "real"]
    return subprocess.run(
        [*command, "--data", str(root / "photos"), *given], env=environment, capture_output=True, text=True
    )


def test_without_weights_it_is_refused_before_any_training_with_the_reason(tree, tmp_path):
    done = run(tree, tmp_path, **QUICK, backbones='["imagenet/resnet18@32"]')
    assert done.returncode == 1
    assert "ImageNet weights of 'resnet18' are not on this machine" in done.stderr
    assert "resnet18-f37072fd.pth" in done.stderr
    assert "Recipe(" not in done.stdout + done.stderr  # no cell that trains was reached
    assert (tree / "reports" / "real" / f"{NAME}.failed.html").exists()
    assert not (tree / "reports" / "real" / f"{NAME}.html").exists()


def test_with_the_installed_weights_the_folder_becomes_a_report(tree, tmp_path):
    done = run(tree, tmp_path, **QUICK, backbones='["imagenet/resnet18@32","imagenet/efficientnet_lite0@32"]')
    assert done.returncode == 0, done.stderr
    result = json.loads((tree / "reports" / "real" / f"{NAME}.json").read_text())
    assert result["data"]["kind"] == "real"
    assert result["data"]["classes"] == ["Arctic Fox", "Elephant"]
    assert (result["data"]["train"], result["data"]["test"]) == (64, 40)
    assert [item["name"] for item in result["data"]["skipped"]] == ["Train/Elephant/broken.png"]
    what = {claim["what"] for claim in result["claims"]}
    assert "full fine-tuning of a pretrained network, mean over seeds" in what
    page = re.sub(r"\s+", " ", (tree / "reports" / "real" / f"{NAME}.html").read_text())
    assert "imagenet/efficientnet_lite0@32 takes its place" in page  # the substitute is named
    assert "pretrained on the photographs of ImageNet" in page
