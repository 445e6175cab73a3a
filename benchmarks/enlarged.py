"""Whether small pictures should be enlarged for frozen ImageNet features: CIFAR-10 as JPEG, on validation images.

python -m benchmarks.enlarged [--images 2500] [--data ../shared/data]     (about a minute)
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from benchmarks.measure import arguments
from imgcls.data import Split, load
from imgcls.models import create_model
from imgcls.transfer import fit_logistic_head, frozen_features

SIZES = (32, 64, 96, 128, 160)  # pixels
VALIDATE = 800  # images


def enlarged(split: Split, size: int) -> Split:
    """The split at another size, bicubic."""
    images = F.interpolate(split.images.float(), size=(size, size), mode="bicubic", antialias=True)
    return replace(split, images=images.clamp(0, 255).round().to(torch.uint8))


def main() -> None:
    """Print accuracy and loss on validation for each size."""
    args = arguments(__doc__, archive="cifar10-jpeg.zip", images=2500, runs=None)
    splits = load(args.data, image_size=32, train_count=args.images)
    order = torch.randperm(len(splits.val), generator=torch.Generator().manual_seed(0))
    val = splits.val.subset(order[:VALIDATE])
    for size in SIZES:
        model = create_model("efficientnet_lite0", len(splits.classes), weights="imagenet", image_size=size)
        table = fit_logistic_head(model, *frozen_features(model, enlarged(splits.train, size), enlarged(val, size)))
        best = table[table["chosen"]].iloc[0]
        print(f"{size:4} px  accuracy {100 * best['val_accuracy']:.1f} %, loss {best['val_loss']:.3f}", flush=True)


if __name__ == "__main__":
    main()
