"""The fast recipe of case 05 beside airbench94_muon and beside a plain PyTorch loop, on the JPEG copies of CIFAR-10.

python -m benchmarks.fast [--airbench airbench94_muon.py] [--no-plain-loop] [--runs 3] [--data FOLDER] [--out FILE]

A run trains on all 50,000 training images and is tested on the 10,000 test images, both with test-time augmentation.
Its time is that of training and of this test. The three take turns on the same cores in the same precision, many
minutes each on a CPU. The peer's file belongs to the public repository KellerJordan/cifar10-airbench (Jordan 2024,
arXiv:2404.00498): it is read from the path given and adapted to a CPU in memory. Without a path its rows are left out.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.measure import alternate, arguments, own_process
from benchmarks.record import Row, report, row, versus
from imgcls.data import Split, Splits, load
from imgcls.evaluation import flip_shift_tta, predict
from imgcls.messages import UserError
from imgcls.models import create_model
from imgcls.precision import autocast, pick_device
from imgcls.reproducibility import configure_threads
from imgcls.training import fit_seeds
from imgcls.training.recipes import FAST

WIDTHS = (64, 256, 256)
# What the peer's file does on a CUDA device only, and what it becomes; each must occur.
ADAPTED = {
    "with open(sys.argv[0]) as f:\n    code = f.read()\n": "",
    "@torch.compile\n": "",
    'map_location=torch.device("cuda")': 'map_location="cpu"',
    "self.images.half()": "self.images.float()",
    "mod.half()": "mod.float()",
    "fused=True": "fused=False",
    "torch.cuda.Event(enable_timing=True)": "Clock()",
    "torch.cuda.synchronize()": "pass",
}


def all_for_training(archive: Path) -> Splits:
    """The archive's images with none held back: train holds the validation images too."""
    splits = load(archive, image_size=32)
    parts = splits.train, splits.val
    images, labels = torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    return replace(splits, train=Split(images, labels, None, sum((part.names for part in parts), ()), splits.classes))


def ours(archive: Path, seed: int) -> tuple[float, float]:
    """Seconds and test accuracy of the fast recipe, with test-time augmentation."""
    splits = all_for_training(archive)
    create = partial(create_model, "cifar_fast", len(splits.classes), widths=WIDTHS)
    # These validation images are trained on: the epoch that they choose is the last or close to it.
    run = fit_seeds(create, splits.train, splits.val, FAST, [seed], show=False)[0]
    images = len(splits.train) // FAST.batch_size * FAST.batch_size
    training = sum(images / one["images_per_second"] for one in run.history.rows)
    begun = time.perf_counter()
    accuracy = predict(run.model, splits.test, tta=flip_shift_tta()).accuracy
    return training + time.perf_counter() - begun, accuracy


def plain_loop(archive: Path, seed: int) -> tuple[float, float]:
    """Seconds and test accuracy of what a reader would write: a data loader, SGD, one-cycle, the same epochs."""
    configure_threads()
    torch.manual_seed(seed)
    splits = all_for_training(archive)
    crops = [v2.RandomCrop(32, padding=2, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    augment = v2.Compose([*crops, v2.ToDtype(torch.float32, scale=True)])
    model = create_model("cifar_fast", len(splits.classes), widths=WIDTHS)
    model.normalize.fit(splits.train.images)
    model.network.features.first[0].fit(splits.train.images)
    loader = DataLoader(Augmented(splits.train, augment), FAST.batch_size, shuffle=True, drop_last=True, num_workers=2)
    model.to(pick_device(), memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=FAST.epochs * len(loader))
    begun = time.perf_counter()
    for _ in range(FAST.epochs):
        for images, labels in loader:
            with autocast(pick_device()):
                logits = model(images.to(pick_device(), memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), labels.to(pick_device()), label_smoothing=FAST.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    accuracy = predict(model, splits.test).accuracy
    return time.perf_counter() - begun, accuracy


class Augmented(Dataset):
    """A split whose images are transformed one by one."""

    def __init__(self, split: Split, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(self.split.images[index]), self.split.labels[index]


class Clock:
    """The part of `torch.cuda.Event` that the peer uses, for a processor that does not run ahead."""

    def record(self) -> None:
        """Note the time."""
        self.time = time.perf_counter()

    def elapsed_time(self, end: "Clock") -> float:
        """Milliseconds until another one."""
        return 1000 * (end.time - self.time)


def adapt(source: str) -> str:
    """The peer's code for a CPU.

    Raises:
        ValueError: it is not the file that we know how to adapt.
    """
    for old, new in ADAPTED.items():
        if old not in source:
            raise UserError(f"this is not the airbench94_muon.py that can be adapted to a CPU: it has no {old!r}")
        source = source.replace(old, new)
    return source


def airbench(archive: Path, seed: int, path: Path) -> tuple[float, float]:
    """Seconds of training and of its test, and the test accuracy with its test-time augmentation."""
    configure_threads()
    torch.manual_seed(seed)
    splits = all_for_training(archive)
    found: dict[str, Any] = {}
    code: dict[str, Any] = {"__name__": "airbench94_muon", "Clock": Clock}
    exec(compile(adapt(path.read_text(encoding="utf-8")), str(path), "exec"), code)
    code["print_training_details"] = lambda variables, is_final_entry: found.update(variables)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("cifar10").mkdir()
        for name, split in (("train", splits.train), ("test", splits.test)):
            images = torch.as_tensor(split.images).permute(0, 2, 3, 1).contiguous()
            content = {"images": images, "labels": torch.as_tensor(split.labels), "classes": list(split.classes)}
            torch.save(content, f"cifar10/{name}.pt")
        network = code["CifarNet"]().to(memory_format=torch.channels_last)
        # Only the network computes in bfloat16, as only it is in half precision in the file: a whitening from
        # covariances in bfloat16 is not a number.
        compute = autocast(torch.device("cpu"))(network.forward)
        network.forward = lambda *values, **options: compute(*values, **options).float()
        accuracy = code["main"](seed, network)
    return found["time_seconds"], accuracy


def measure(archive: Path, works: dict[str, Callable[[Path, int], tuple[float, float]]], runs: int) -> list[Row]:
    """Run all by turns, and compare ours with each of the others."""
    accuracies: dict[str, list[float]] = {name: [] for name in works}

    def turn(name: str, run: Callable[..., Any]) -> float:
        seconds, accuracy = run(works[name], archive, len(accuracies[name]))
        accuracies[name].append(accuracy)
        return seconds

    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(own_process()) for name in works}
        found = alternate({name: partial(turn, name, run) for name, run in processes.items()}, runs)
    rows = []
    for name, target in (("airbench94_muon", "<= 0.7"), ("plain loop", ">= 1.5")):
        if name in works:
            what = {"what": f"{FAST.epochs} epochs of cifar_fast"}
            rows.append(
                versus(f"fast_seconds_vs_{name.split()[0]}", "s", found["ours"], found[name], name, target, **what)
            )
    for name, values in accuracies.items():
        spread = {"spread": [min(values), max(values)], "what": "10,000 test images, mean over seeds"}
        target = ">= 0.908" if name == "ours" else "-"
        rows.append(row(f"fast_accuracy_{name.split()[0]}", "share", fmean(values), target, runs, **spread))
    return rows


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cifar10-jpeg.zip", runs=3, airbench=True)
    works = {"ours": ours} if args.no_plain_loop else {"ours": ours, "plain loop": plain_loop}
    if args.airbench:
        works["airbench94_muon"] = partial(airbench, path=args.airbench.resolve())
    else:
        print("airbench94_muon is left out: pass the path of its file as --airbench", flush=True)
    report(measure(args.data, works, args.runs), args.out)


if __name__ == "__main__":
    main()
