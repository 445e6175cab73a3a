"""Model selection for notebook 02: cross-validation with known species held out as pseudo-unknowns.

The forty known species are split into folds. For each fold, a network is trained on the other species as in notebook
02. Training and validation images of the fold are then the unknowns, validation images of the other species the
knowns. No test image is used, and no image of the ten unknown species.

python -m benchmarks.species_folds [--folds N] [--others N …] [--out FILE]
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import imgcls.data
import menagerie
from course.datasets import concat_classes
from course.zero_shot import fit_exemplars, fit_zero_shot, predictability
from imgcls import evaluation, models, openset, reproducibility, transfer
from imgcls.data.batches import ImageSet
from imgcls.evaluation import FeatureSplit, flip_shift_tta, predict
from imgcls.models import create_model
from imgcls.training import Recipe, fit_seeds
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

TTA = Sequence[Callable[[Tensor], Tensor]] | None

DATA, SIDE, SEED = "menagerie/species", 64, 0
RECIPE = Recipe(
    epochs=3, batch_size=128, optimizer="muon", lr=0.01, weight_decay=0.01, ema_decay=0.98,
    transforms=(RandomCrop(padding=6), RandomHorizontalFlip()),
)  # fmt: skip
MIN_R2 = (0.0, 0.2, 0.4)  # thresholds for R² with which features must predict a trait
MIN_TRAITS = 5  # that are used, even if fewer reach the threshold
SHIFTS = {"none": None, "flip": 0, "flip and shift": 2}  # TTA -> pixels, for `flip_shift_tta`


def split_into_folds(names: tuple[str, ...], folds: int) -> list[list[str]]:
    """Split names at random into folds of nearly equal size."""
    order = np.random.default_rng(SEED).permutation(len(names))
    return [sorted(names[i] for i in part) for part in np.array_split(order, folds)]


def trait_tables(known: FeatureSplit, unknown: list[str]) -> dict[str, pd.DataFrame]:
    """Tables (classes × traits) of all traits, and of those that features predict with at least each MIN_R2."""
    names = [*known.classes, *unknown]
    table = pd.DataFrame(menagerie.attributes(names).numpy(), names, menagerie.attribute_names())
    r2 = predictability(known, table)
    chosen = {least: r2.nlargest(max(MIN_TRAITS, int((r2 >= least).sum()))).index for least in MIN_R2}
    return {"all": table} | {f"R² ≥ {least:.1f}": table[traits] for least, traits in chosen.items()}


def run_fold(unknown: list[str], others: int) -> list[dict]:
    """Train on one fold; rows (others, tta, measure, what, value) for each kind of test-time augmentation.

    Args:
        unknown: species that are held out as pseudo-unknowns.
        others: number of training images of further classes.
    """
    load = partial(imgcls.data.load, DATA, image_size=SIDE)
    known = [name for name in load().classes if name not in unknown]
    splits, held_out = load(classes=known), load(classes=unknown)
    train = splits.train
    if others:
        kinds = imgcls.data.load(transfer.SOURCE, image_size=SIDE, train_count=others).train
        train = concat_classes(train, kinds)
    weights = transfer.pretrained("source", image_size=SIDE)
    create = partial(create_model, "resnet18", len(train.classes), weights=weights, image_size=SIDE)
    run = fit_seeds(create, train, replace(splits.val, classes=train.classes), RECIPE, [SEED])[0]
    rows = [
        {"tta": name, **row}
        for name, shift in SHIFTS.items()
        for row in evaluate_fold(run.model, train, splits, held_out, None if shift is None else flip_shift_tta(shift))
    ]
    return [{"others": others, **row} for row in rows]


def evaluate_fold(
    network: nn.Module, learnt: ImageSet, splits: imgcls.data.Splits, held_out: imgcls.data.Splits, tta: TTA
) -> list[dict]:
    """Rows (measure, what, value): accuracy, AUROC of each detector, balanced accuracy of each zero-shot method.

    Args:
        network: a classifier of `learnt.classes`, which begin with the known species.
        learnt: the training images.
        splits: of the known species.
        held_out: of the pseudo-unknowns.
        tta: test-time augmentation.
    """
    known, unknown = list(splits.classes), list(held_out.classes)
    model, body = models.slice_head(network, len(known)), models.backbone(network)
    train, val, *rest, everything = (
        evaluation.extract_features(body, s, tta=tta)
        for s in (splits.train, splits.val, held_out.train, held_out.val, learnt)
    )
    unseen = FeatureSplit(torch.cat([f.images for f in rest]), torch.cat([f.labels for f in rest]), held_out.classes)
    more = len(learnt.classes) > len(known)
    detectors = openset.fit_detectors(train, models.head(network), known=len(known) if more else None)
    for second in ("ViM", "Mahalanobis", "KNN") if more else ():
        detectors[f"outlier-exposure log odds + {second}"] = openset.sum_standardized(
            detectors, ["outlier-exposure log odds", second], val.images
        )
    queries = torch.cat([val.images, unseen.images])
    table = openset.detection_table(
        openset.unknown_scores(detectors, queries), torch.arange(len(queries)) >= len(val.labels)
    )
    rows = [{"measure": "accuracy", "what": "known", "value": predict(model, splits.val, tta=tta).accuracy}]
    rows += [{"measure": "auroc", "what": m, "value": v} for m, v in zip(table["method"], table["auroc"], strict=True)]
    for name, traits in trait_tables(everything, unknown).items():
        classifiers = {
            "ESZSL from known species": fit_zero_shot(train, traits.loc[[*known, *unknown]], seed=SEED),
            "ESZSL from all kinds": fit_zero_shot(everything, traits, seed=SEED),
            "exemplars from known species": fit_exemplars(train, traits.loc[[*known, *unknown]], seed=SEED),
            "exemplars from all kinds": fit_exemplars(everything, traits, known, seed=SEED),
        }
        for method, classifier in classifiers.items():
            value = classifier.predict(unseen, among="unseen").balanced_accuracy.value
            rows.append({"measure": "zero-shot", "what": f"{name}, {method}", "value": value})
    return rows


def main() -> None:
    """Evaluate all folds, print mean and standard deviation, and write a row for every fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument(
        "--others",
        type=int,
        nargs="+",
        default=[1200],
        help="training images of further classes; several numbers are compared",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    reproducibility.configure_threads()
    names = imgcls.data.load(DATA, image_size=SIDE).classes
    rows = []
    for fold, unknown in enumerate(split_into_folds(names, args.folds)):
        for others in args.others:
            rows += [{"fold": fold, **row} for row in run_fold(unknown, others)]
            args.out.write_text(json.dumps(rows, indent=1) + "\n")
        shown = (
            pd.DataFrame(rows).groupby(["others", "measure", "what", "tta"], sort=False)["value"].agg(["mean", "std"])
        )
        print(f"after fold {fold + 1} of {args.folds}\n{shown.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
