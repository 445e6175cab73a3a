"""What tests share: a tiny learnable split, also as files, folders of their own, and what every figure must stand."""

import io
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from imgcls import paths
from imgcls.reproducibility import configure_threads

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # workers share the cores, and so does what they start
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))))
configure_threads()
# Processes that tests start find the helpers of the tests, and this checkout before any installed one.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


CHAINS = 3  # of notebooks, each on a worker of its own
REPOSITORY = Path(__file__).resolve().parent.parent
LONG = (  # from the longest on
    "test_lab.py",
    "test_resume.py", "test_models.py", "test_real_folder.py", "test_reports.py", "test_benchmarks.py", "test_cli.py",
    "test_app.py", "test_grading.py", "test_exercises.py", "test_interruptions.py", "test_pages.py",
    "test_menagerie.py", "test_reports_compare.py", "test_tracking.py", "test_plots.py", "test_course_plots.py",
    "test_distributed.py", "test_search_shared.py", "test_data.py", "test_batches.py",
)  # fmt: skip


@dataclass(frozen=True)
class TinySplit:
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ("red", "green", "blue")
    names: tuple[str, ...] = ()

    def __len__(self):
        return len(self.labels)


def colour_split(n: int, seed: int, noise: int = 60, size: int = 8) -> TinySplit:
    """n noisy images whose strongest channel is the label."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=draws)
    images = torch.randint(0, 256 - noise, (n, 3, size, size), generator=draws, dtype=torch.uint8)
    images[torch.arange(n), labels] += noise
    return TinySplit(images, labels, names=tuple(f"image-{i}" for i in range(n)))


class MeanColour(nn.Module):
    """Predicts the strongest channel; float input is taken to be in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return x.mean((2, 3)) * self.scale


def copy_builder(root):
    """What `make reports` needs of the project, without a notebook, in a folder; returns it."""
    for package in ("course", "imgcls"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Makefile", root)
    return root


def write_photos(folder, split):
    """A split as files, folder/class/number.png; returns the folder."""
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        target = folder / split.classes[label]
        target.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(target / f"{i}.png")
    return folder


@pytest.fixture
def tiny():
    return colour_split(192, seed=1), colour_split(96, seed=2)


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    """Point every folder that is written to into a temporary one."""
    for name in ("BUILD", "CACHE", "REPORTS", "FIGURES", "DATA"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    return tmp_path


@pytest.fixture
def one_thread():
    """Small images are faster without a team of threads; the global draws start anew."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def figure_of(drawing):
    """The figure of what a function of `imgcls.plots` returns, which may be one of its panels."""
    from matplotlib.figure import Figure

    return drawing if isinstance(drawing, Figure) else drawing.figure


def check_pages(light, dark):
    """Two PNGs are one figure, on the background of the light page and on that of the dark one."""
    from matplotlib.colors import to_hex

    from imgcls import plots

    pictures = [Image.open(io.BytesIO(png)).convert("RGB") for png in (light, dark)]
    assert pictures[0].size == pictures[1].size
    corners = [to_hex(np.array(picture.getpixel((0, 0))) / 255) for picture in pictures]
    assert corners == [plots.LIGHT["surface"], plots.DARK["surface"]]
    assert np.asarray(pictures[0]).mean() > 150 > 100 > np.asarray(pictures[1]).mean()


def check_twin(draw):
    """A figure is small, drawn without a warning, and has a dark twin without a light colour: it, and its PNG."""
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    from imgcls import plots
    from imgcls.plots import display

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(draw())
        light = display.render(figure)
        with plots.dark_twin(figure):
            dark = display.render(figure)
            drawn = figure.findobj(lambda artist: isinstance(artist, Text | Line2D))
            assert not {to_hex(artist.get_color()) for artist in drawn} & set(plots.LIGHT.values())
    check_pages(light, dark)
    found = Image.open(io.BytesIO(dark)).convert("RGB").getcolors(1 << 24)
    used = {colour for count, colour in found if count > 100}  # fewer are edges, whose blends may equal any colour
    assert not used & {tuple(bytes.fromhex(colour[1:])) for colour in plots.LIGHT.values()}
    assert len(light) < 40_000
    return figure, light


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """The tests of a file belong to one worker, as they share fixtures, caches and the processes that they start.

    Runs of notebooks come first, as many chains of them as `make test` has workers: those of a chain share a copy of
    the project, in which one waits for the other. Then come the files that take longest, so that no worker begins one
    of them when the others end.
    """
    rank = {name: k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: ("smoke" not in item.fixturenames, rank.get(item.path.name, len(LONG))))
    for item in items:
        group = item.path.name
        if "smoke" in item.fixturenames:
            group = f"notebooks {int(item.callspec.params['notebook'].stem[:2]) % CHAINS}"
        item.add_marker(pytest.mark.xdist_group(group))
