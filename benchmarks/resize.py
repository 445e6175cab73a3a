"""Which way to make a picture square suits frozen ImageNet features best, on validation images alone.

python -m benchmarks.resize [--runs 5] [--data ../shared/data]     (about three minutes)

Every run draws another split; the test split is never looked at.
"""

import statistics

import torch

from benchmarks.measure import arguments
from imgcls.data import load
from imgcls.data.decoding import RESIZES
from imgcls.evaluation import FeatureSplit, predict
from imgcls.models import create_model, head
from imgcls.transfer import fit_logistic_head, frozen_features

SIZE = 160


def main() -> None:
    """Print accuracy and loss on validation for each way."""
    args = arguments(__doc__, archive="cats-dogs.zip", runs=5)
    for resize in RESIZES:
        everything = [split for _, split in load(args.data, image_size=SIZE, resize=resize).items()]
        model = create_model("efficientnet_lite0", len(everything[0].classes), weights="imagenet", image_size=SIZE)
        found = {
            name: (row, label)
            for part in frozen_features(model, *everything)
            for name, row, label in zip(part.names, part.images, part.labels, strict=True)
        }
        accuracies, losses = [], []
        for seed in range(args.runs):
            splits = load(args.data, image_size=SIZE, resize=resize, seed=seed)
            train, val = (
                FeatureSplit(
                    torch.stack([found[name][0] for name in split.names]), split.labels, splits.classes, split.names
                )
                for split in (splits.train, splits.val)
            )
            fit_logistic_head(model, train, val)
            predictions = predict(head(model), val)
            accuracies.append(predictions.accuracy)
            losses.append(predictions.loss)
        print(
            f"{resize:7} validation accuracy {100 * statistics.mean(accuracies):.2f} %"
            f" ({', '.join(f'{100 * value:.1f}' for value in accuracies)}), loss {statistics.mean(losses):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
