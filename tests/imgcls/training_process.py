"""Trainings that other processes run for test_training.py: to be killed, or to share a run among several.

python training_process.py fit FOLDER         the library's own loop, checkpoints in FOLDER
python training_process.py accelerate FOLDER  the same with accelerate's save_state and skip_first_batches
python training_process.py share FILE         under torchrun: weights and the global order of the data to FILE
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from conftest import colour_split
from torch import nn

from imgcls import precision
from imgcls.models import create_model
from imgcls.training import Recipe, destroy_process_group, fit, init_distributed, train_batches
from imgcls.transforms import RandomCrop, RandomHorizontalFlip, apply

EVERY = 7  # steps between two checkpoints: no divisor of an epoch's steps
AUGMENT = (RandomCrop(padding=1), RandomHorizontalFlip())
RECIPE = Recipe(epochs=3, batch_size=32, lr=0.05, transforms=AUGMENT, ema_decay=0.9, optimizer="adamw")


def network(name="cifar_dropout"):
    torch.manual_seed(0)
    return create_model(name, num_classes=3, widths=(4, 8, 8), image_size=16)


def data(train=1280):
    return colour_split(train, seed=1, size=16), colour_split(96, seed=2, size=16)


def run_fit(folder: Path) -> None:
    fit(network(), *data(), RECIPE, seed=5, checkpoint=folder, checkpoint_every=EVERY)


def run_accelerate(folder: Path) -> None:
    """As accelerate's documentation says, with a seedable sampler; a random crop and flip, as anybody writes it."""
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
    torch.manual_seed(5)
    train, _ = data()
    model, optimizer = network(), None
    model.normalize.fit(train.images)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return len(train.labels)

        def __getitem__(self, i):
            seed = int(torch.randint(2**31, ()))
            return apply(AUGMENT, train.images[i : i + 1], torch.Generator().manual_seed(seed))[0], train.labels[i]

    loader = torch.utils.data.DataLoader(Augmented(), RECIPE.batch_size, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    done = sorted(folder.glob("step-*/place.json"))
    place = json.loads(done[-1].read_text()) if done else {"epoch": 0, "step": 0}
    if done:
        accelerator.load_state(done[-1].parent)
    steps = len(loader)
    for epoch in range(place["epoch"], RECIPE.epochs):
        skipped = place["step"] if epoch == place["epoch"] else 0
        loader.set_epoch(epoch)
        batches = accelerator.skip_first_batches(loader, skipped) if skipped else loader
        for step, (images, labels) in enumerate(batches, start=skipped + 1):
            accelerator.backward(F.cross_entropy(model(images), labels))
            optimizer.step()
            optimizer.zero_grad()
            if step % EVERY == 0 or step == steps:
                target = folder / f"step-{epoch * steps + step:09d}"
                shutil.rmtree(target, ignore_errors=True)
                accelerator.save_state(target, safe_serialization=False)
                after = {"epoch": epoch + step // steps, "step": step % steps}
                (target / "place.part").write_text(json.dumps(after))
                (target / "place.part").replace(target / "place.json")  # last: the folder is whole


def run_share(file: Path) -> None:
    """Rank 0 writes the weights and history, and every rank's share of the first batches put together."""
    train, val = data(train=200)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 3))
    recipe = replace(RECIPE, optimizer="sgd", drop_last=False, micro_batch_size=7)  # last batch: 8 images

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, images):
            return self.inner(images.float() / 255)

    precision.pick_precision = lambda device=None: torch.float32  # bfloat16 rounds parts of a batch otherwise
    whole = Scaled()
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    history = fit(whole, train, val, recipe, seed=5, checkpoint=file.with_suffix(".run"), checkpoint_every=3)
    world = init_distributed()
    seen = [world.gather((x, y)) for x, y, *_ in train_batches(train, recipe, seed=5, epoch=0, world=world)]
    order = [[torch.cat(parts) for parts in zip(*shards, strict=True)] for shards in seen]
    if world.is_main:
        found = {"weights": whole.state_dict(), "start": start, "order": order}
        torch.save(found | {"rows": history.rows, "size": world.size}, file)
    destroy_process_group()


def run(kind: str, folder: Path) -> None:
    torch.set_num_threads(1)
    {"fit": run_fit, "accelerate": run_accelerate, "share": run_share}[kind](folder)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
