"""Difficulty of the generated data sets: baselines that should fail and a network that should succeed.

python -m benchmarks.difficulty [--out FILE]     (about eight minutes)
"""

import torch

import menagerie
from benchmarks.measure import arguments
from benchmarks.record import report, row
from course.baselines import histograms, linear, pixels
from imgcls import reproducibility
from imgcls.data import Split, Splits, load
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import Interval
from imgcls.models import create_model
from imgcls.training import Recipe, build_seeded, fit
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

SEED = 0
SCRATCH = Recipe(epochs=30, batch_size=64, lr=0.05, transforms=(RandomCrop(padding=6), RandomHorizontalFlip()))
BACKGROUND = Recipe(epochs=6, batch_size=64, lr=0.05, transforms=(RandomHorizontalFlip(),))


def network(name: str, splits: Splits, recipe: Recipe) -> Interval:
    """Test accuracy of a network trained from scratch."""
    model = build_seeded(lambda: create_model(name, len(splits.classes)), SEED)
    fit(model, splits.train, splits.val, recipe, seed=SEED)
    return predict(model, splits.test).accuracy_interval


def backgrounds(subset: str, habitat_bias: float) -> Splits:
    """Images of a subset without their subjects, labelled with the class that each would have shown."""
    found = {}
    for split, count in menagerie.sizes(subset).items():
        shown = menagerie.render(subset, split, torch.arange(count), habitat_bias=habitat_bias, subject=False)
        names = tuple(f"{split}/{i}" for i in range(count))
        found[split] = Split(shown.images, shown.labels, None, names, shown.classes)
    return Splits(**found, classes=shown.classes, skipped=(), fingerprint="", name=subset, kind="generated")


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, runs=None)
    reproducibility.configure_threads()
    species, pair = load("menagerie/species"), load("menagerie/fox_elephant")
    results = []

    def note(name: str, found: Interval, target: str) -> None:
        results.append(row(name, "accuracy", found.value, target, 1, low=found.low, high=found.high))
        print(f"{name}: {found} (target {target})", flush=True)

    for name, splits, features, target in (
        ("species_pixels_linear", species, pixels, "<= 0.20"),
        ("species_colours_linear", species, histograms, "<= 0.35"),
        ("fox_elephant_colours_linear", pair, histograms, "<= 0.75"),
    ):
        note(name, linear(splits.train, splits.test, features).accuracy_interval, target)
    note("species_background_only", network("resnet18", backgrounds("species", 0.0), BACKGROUND), "0.025 within")
    shortcut = network("resnet18", backgrounds("fox_elephant", 1.0), BACKGROUND)
    note("fox_elephant_background_only_bias_1", shortcut, ">= 0.95")
    note("species_resnet18_scratch", network("resnet18", species, SCRATCH), "0.60 to 0.90")
    report(results, args.out)


if __name__ == "__main__":
    main()
