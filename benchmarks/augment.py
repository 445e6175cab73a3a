"""Random crop, flip and normalisation of 32-pixel images: imgcls (whole batches) against torchvision and kornia.

python -m benchmarks.augment [--runs 5] [--images 50000] [--out FILE]     (about two minutes)
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as T

from benchmarks.measure import alternate, arguments, fastest, own_process, seconds_of
from benchmarks.record import Row, report, version, versus
from imgcls.models.normalize import Normalize
from imgcls.reproducibility import configure_threads, generator
from imgcls.transforms import RandomCrop, RandomHorizontalFlip, apply

SIZE, PADDING = 32, 4
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
TRIAL = 4096  # images used to pick the fastest settings of the peers
WORKERS = 2


@cache
def pixels(images: int) -> Tensor:
    """Random uint8 images (N, 3, H, W); the content does not affect the time."""
    return torch.randint(0, 256, (images, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator(0, "pixels"))


@cache
def pictures(images: int) -> list[Image.Image]:
    """The images of `pixels` as decoded Pillow images."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels(images)]


@torch.inference_mode()
def ours(images: int, batch_size: int) -> float:
    """Seconds for all images."""
    configure_threads()
    transforms = (RandomCrop(padding=PADDING, mode="constant"), RandomHorizontalFlip())
    normalize, draws = Normalize().set_statistics(MEAN, STD), generator(0, "augment")
    batches = pixels(images).split(batch_size)
    return seconds_of(lambda: [normalize(apply(transforms, x, draws)).shape for x in batches])


@torch.inference_mode()
def kornia(images: int, batch_size: int, cropping: str, normalizing: str) -> float:
    """Seconds for all images, including the conversion from uint8 to the floats that kornia needs."""
    import kornia.augmentation as K
    from kornia.enhance import Normalize as Plain

    normalize = K.Normalize if normalizing == "augmentation" else Plain
    transforms = nn.Sequential(
        K.RandomCrop((SIZE, SIZE), padding=PADDING, cropping_mode=cropping),
        K.RandomHorizontalFlip(),
        normalize(mean=torch.tensor(MEAN), std=torch.tensor(STD)),
    )
    batches = pixels(images).split(batch_size)
    return seconds_of(lambda: [transforms(x.float().div_(255)).shape for x in batches])


def torchvision(images: int, batch_size: int, workers: int) -> float:
    """Seconds for all images, one by one into batches, in this process or by a DataLoader's workers."""
    shown = pictures(images)
    transform = T.Compose([T.RandomCrop(SIZE, PADDING), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])
    if not workers:
        starts = range(0, images, batch_size)
        return seconds_of(
            lambda: [torch.stack([transform(p) for p in shown[i : i + batch_size]]).shape for i in starts]
        )
    loader = DataLoader(Transformed(shown, transform), batch_size, num_workers=workers, persistent_workers=True)
    next(iter(loader))  # the time excludes the start of the workers
    return seconds_of(lambda: [x.shape for x in loader])


class Transformed(torch.utils.data.Dataset):
    """A data set that transforms an image when it is indexed."""

    def __init__(self, shown: Sequence[Image.Image], transform: Callable[[Image.Image], Tensor]) -> None:
        self.shown, self.transform = shown, transform

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.shown[index])


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, images=50_000)
    threads = configure_threads()
    rows: list[Row] = []
    with own_process() as for_us, own_process() as for_kornia, own_process() as for_torchvision:
        for batch_size, suffix in ((128, ""), (500, "_batch_500")):
            print(f"augment, batches of {batch_size}", flush=True)
            trial, whole = min(args.images, TRIAL), args.images
            ways = {
                f"{crop}, {norm}": (crop, norm)
                for crop in ("slice", "resample")
                for norm in ("augmentation", "enhance")
            }
            way = fastest({name: partial(for_kornia, kornia, trial, batch_size, *how) for name, how in ways.items()})
            workers = fastest(
                {str(n): partial(for_torchvision, torchvision, trial, batch_size, n) for n in (0, WORKERS)}
            )
            for_us(ours, whole, batch_size)
            seconds = alternate(
                {
                    "ours": partial(for_us, ours, whole, batch_size),
                    "kornia": partial(for_kornia, kornia, whole, batch_size, *ways[way]),
                    "torchvision": partial(for_torchvision, torchvision, whole, batch_size, int(workers)),
                },
                args.runs,
            )
            rates = {name: [whole / value for value in values] for name, values in seconds.items()}
            for peer, target, settings in (
                ("torchvision", ">= 10", f"image by image, {workers} workers" if workers != "0" else "in one process"),
                ("kornia", ">= 1.5", way),
            ):
                rows.append(
                    versus(
                        f"augment_vs_{peer}{suffix}",
                        "images/s",
                        rates["ours"],
                        rates[peer],
                        f"{peer} {version(peer)}",
                        target,
                        what=f"crop, flip, normalise; batches of {batch_size}",
                        settings=settings,
                        images=whole,
                        threads=threads,
                    )
                )
    report(rows, args.out)


if __name__ == "__main__":
    main()
