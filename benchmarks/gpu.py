"""The fast recipe on a CUDA device with the images in its memory: speed, accuracy, and how busy the device is.

python -m benchmarks.gpu [--runs 3] [--data cifar10-jpeg.zip] [--out FILE]     (a few minutes; needs a CUDA device)
"""

import statistics
import time
from dataclasses import replace
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

import imgcls.data
from benchmarks.measure import arguments
from benchmarks.record import report, row
from imgcls.evaluation import flip_shift_tta, predict
from imgcls.models import create_model
from imgcls.training import Recipe, build_seeded, fit
from imgcls.training.recipes import FAST

BATCHES = {500: 0.02, FAST.batch_size: FAST.lr}  # batch size -> learning rate, both chosen on validation images
NAME = "cifar_fast"


def busy_share(model: torch.nn.Module, splits: imgcls.data.Splits, recipe: Recipe) -> float:
    """Share of the time of one epoch in which the device computes or copies."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        begun = time.perf_counter()
        fit(model, splits.train, splits.val, replace(recipe, epochs=1), show=False)
        torch.cuda.synchronize()
        spent = time.perf_counter() - begun
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / spent


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cifar10-jpeg.zip", runs=3)
    if not torch.cuda.is_available():
        raise SystemExit("no GPU here: this benchmark needs a CUDA device")
    splits = imgcls.data.load(args.data, image_size=32)
    rows, settings = [], torch.cuda.get_device_name()
    for batch_size, lr in BATCHES.items():
        recipe = replace(FAST, batch_size=batch_size, lr=lr)
        create = partial(create_model, NAME, len(splits.classes), image_size=32)
        fit(build_seeded(create, 99), splits.train, splits.val, replace(recipe, epochs=1), show=False)  # warm-up
        seconds, accuracies = [], []
        for seed in range(args.runs):
            model = build_seeded(create, seed)
            history = fit(model, splits.train, splits.val, recipe, seed=seed, show=False)
            seconds.append(sum(len(splits.train) / line["images_per_second"] for line in history.rows))
            accuracies.append(predict(model, splits.test, tta=flip_shift_tta()).accuracy)
            print(f"  batches of {batch_size}, seed {seed}: {accuracies[-1]:.4f} in {seconds[-1]:.2f} s", flush=True)
        spread = statistics.stdev(accuracies) if args.runs > 1 else None
        busy = busy_share(build_seeded(create, 0), splits, recipe)
        facts = {"runs": args.runs, "settings": f"{settings}, batches of {batch_size}"}
        rows += [
            row(f"gpu_seconds_{batch_size}", "s", statistics.median(seconds), "<= 2.4", **facts),
            row(f"gpu_accuracy_{batch_size}", "accuracy", statistics.mean(accuracies), ">= 0.907", **facts, std=spread),
            row(f"gpu_busy_{batch_size}", "share", busy, ">= 0.6", **facts),
        ]
    report(rows, args.out)


if __name__ == "__main__":
    main()
