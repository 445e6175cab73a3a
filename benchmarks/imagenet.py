"""Accuracy of the installed ImageNet weights on photographs of ImageNet.

    python -m benchmarks.imagenet ../shared/data/imagenet-sample.zip [--image-size 224]

Takes a zip of photographs whose file names begin with the index of their class, such as 0003_n01491361.jpg.
"""

import argparse
import json
import zipfile
from pathlib import Path

import torch

from imgcls import models
from imgcls.data import load_image
from imgcls.data.splits import Split
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import wilson
from imgcls.models.pretrained import IMAGE_SIZE, imagenet_folder


def imagenet_accuracy(path: Path, image_size: int = IMAGE_SIZE, name: str = "efficientnet_lite0") -> dict:
    """Top-1 and top-5 accuracy with the library's own decoding and normalisation, with Wilson intervals."""
    model, card = models.load(imagenet_folder(name))
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        images = torch.stack([load_image(archive.read(name), image_size, 3, "crop") for name in names])
    labels = torch.tensor([int(Path(name).name[:4]) for name in names])
    predictions = predict(model, Split(images, labels, None, tuple(names), tuple(card["classes"])), batch_size=100)
    best = predictions.logits.topk(5).indices == labels[:, None]
    counts = {"top1": int(best[:, 0].sum()), "top5": int(best.sum())}
    return (
        {"images": len(labels), "image_size": image_size}
        | {key: wilson(count, len(labels)).value for key, count in counts.items()}
        | {f"{key}_interval": str(wilson(count, len(labels))) for key, count in counts.items()}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE)
    arguments = parser.parse_args()
    print(json.dumps(imagenet_accuracy(arguments.path, arguments.image_size), indent=2))
