"""Frozen features and `imgcls train` beside the same network in eager PyTorch, on the photographs of cats and dogs.

python -m benchmarks.frozen [--runs 3] [--data ../shared/data] [--out FILE]     (about five minutes)

Eager PyTorch is the usual way: timm's network, float32, channels-last, inference mode, batches of 64 images that are
decoded already. `imgcls train` starts a process, decodes, computes the same features, fits a head and saves the model.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.measure import alternate, arguments, seconds_of
from benchmarks.record import report, versus
from imgcls import models
from imgcls.data import load
from imgcls.models import create_model
from imgcls.reproducibility import configure_threads
from imgcls.transfer import FEATURE_BATCH, feature_extractor

SIZE, AGREE = 160, 1e-4


def eager(body: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Features in float32 by PyTorch alone."""
    with torch.inference_mode():
        return torch.cat([body(batch) for batch in images.split(FEATURE_BATCH)])


def train_command(archive: Path) -> Callable[[], float]:
    """Seconds of `imgcls train` with its defaults in a new process with an empty cache."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as root:
            code = (
                "from pathlib import Path; from imgcls import paths; "
                f"paths.CACHE, paths.BACKBONES = Path({root!r}, 'cache'), Path({root!r}, 'backbones'); "
                f"import sys; sys.argv = ['imgcls', 'train', {str(archive)!r}, '--out', {root + '/run'!r}]; "
                "from imgcls.cli import main; main()"
            )
            command = [sys.executable, "-c", code]
            return seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))

    return run


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cats-dogs.zip", runs=3)
    configure_threads()
    splits = load(args.data, image_size=SIZE)
    body = models.backbone(create_model("efficientnet_lite0", 2, weights="imagenet", image_size=SIZE)).eval()
    extract = feature_extractor(body, splits.train.images[:1])
    difference = (extract(splits.train) - eager(body, splits.train.images)).abs().max().item()
    if difference > AGREE:
        raise SystemExit(f"the features differ by {difference:.1e}, more than {AGREE}")
    print(f"largest difference of {len(splits.train)} × 1,280 features: {difference:.1e}", flush=True)

    everything = [split for _, split in splits.items()]
    count = sum(len(split) for split in everything)
    works = {
        "ours": lambda: seconds_of(lambda: [extract(split) for split in everything]),
        "peer": lambda: seconds_of(lambda: [eager(body, split.images) for split in everything]),
        "train": train_command(args.data),
    }
    found = alternate(works, args.runs)
    facts = {"images": count, "size": SIZE}
    rates = {name: [count / seconds for seconds in found[name]] for name in ("ours", "peer")}
    report(
        [
            versus("frozen_features", "images/s", rates["ours"], rates["peer"], "eager PyTorch", ">= 2", **facts),
            versus("train_vs_features", "s", found["train"], found["peer"], "eager features", "<= 2", **facts),
        ],
        args.out,
    )


if __name__ == "__main__":
    main()
