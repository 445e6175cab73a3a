"""What case 02 decides before it meets an unknown species, decided on known ones that play unknown by turns.

The forty known species are dealt into folds. For each fold a network learns the others as notebook 02 does; then the
training and validation images of the fold, which it has not seen, are the unknown ones, and the validation images of
the others the known ones. No test image takes part, and no image of the ten unknown species.

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

Views = Sequence[Callable[[Tensor], Tensor]] | None

DATA, SIDE, SEED = "menagerie/species", 64, 0
RECIPE = Recipe(
    epochs=3, batch_size=128, optimizer="muon", lr=0.01, weight_decay=0.01, ema_decay=0.98,
    transforms=(RandomCrop(padding=6), RandomHorizontalFlip()),
)  # fmt: skip
TOLD = (0.0, 0.2, 0.4)  # of the variance of a trait, that pictures of other classes have to tell for it to be taken
FEWEST = 5  # traits that are taken, however few are told so well
SHIFTS = {"one": None, "mirrored too": 0, "mirrored and moved": 2}  # name -> pixels, for `flip_shift_tta`


def deal(names: tuple[str, ...], folds: int) -> list[list[str]]:
    """The names in so many folds, by seed."""
    order = np.random.default_rng(SEED).permutation(len(names))
    return [sorted(names[i] for i in part) for part in np.array_split(order, folds)]


def choices_of_traits(learnt: FeatureSplit, unknown: list[str]) -> dict[str, pd.DataFrame]:
    """Tables of traits: all there are, and those that pictures tell well enough."""
    names = [*learnt.classes, *unknown]
    table = pd.DataFrame(menagerie.attributes(names).numpy(), names, menagerie.attribute_names())
    told = predictability(learnt, table)
    enough = {least: told.nlargest(max(FEWEST, int((told >= least).sum()))).index for least in TOLD}
    return {"all": table} | {f"told by {least:.0%}": table[kept] for least, kept in enough.items()}


def one_fold(unknown: list[str], others: int) -> list[dict]:
    """Rows views, measure, what, value of one fold, for each choice of views of a picture."""
    load = partial(imgcls.data.load, DATA, image_size=SIDE)
    known = [name for name in load().classes if name not in unknown]
    splits, strangers = load(classes=known), load(classes=unknown)
    learn = splits.train
    if others:
        kinds = imgcls.data.load(transfer.SOURCE, image_size=SIDE, train_count=others).train
        learn = concat_classes(learn, kinds)
    weights = transfer.pretrained("source", image_size=SIDE)
    create = partial(create_model, "resnet18", len(learn.classes), weights=weights, image_size=SIDE)
    run = fit_seeds(create, learn, replace(splits.val, classes=learn.classes), RECIPE, [SEED])[0]
    rows = [
        {"views": name, **row}
        for name, shift in SHIFTS.items()
        for row in judged(run.model, learn, splits, strangers, None if shift is None else flip_shift_tta(shift))
    ]
    return [{"others": others, **row} for row in rows]


def judged(
    network: nn.Module, learn: ImageSet, splits: imgcls.data.Splits, strangers: imgcls.data.Splits, tta: Views
) -> list[dict]:
    """Rows measure, what, value: accuracy, AUROC of each score, zero-shot accuracy of each way to learn traits."""
    known, unknown = list(splits.classes), list(strangers.classes)
    model, body = models.slice_head(network, len(known)), models.backbone(network)
    train, val, *rest, everything = (
        evaluation.extract_features(body, s, tta=tta)
        for s in (splits.train, splits.val, strangers.train, strangers.val, learn)
    )
    away = FeatureSplit(torch.cat([f.images for f in rest]), torch.cat([f.labels for f in rest]), strangers.classes)
    more = len(learn.classes) > len(known)
    detectors = openset.fit_detectors(train, models.head(network), known=len(known) if more else None)
    for second in ("ViM", "Mahalanobis", "KNN") if more else ():
        detectors[f"outlier-exposure log odds + {second}"] = openset.sum_standardized(
            detectors, ["outlier-exposure log odds", second], val.images
        )
    asked = torch.cat([val.images, away.images])
    table = openset.detection_table(
        openset.unknown_scores(detectors, asked), torch.arange(len(asked)) >= len(val.labels)
    )
    rows = [{"measure": "accuracy", "what": "known", "value": predict(model, splits.val, tta=tta).accuracy}]
    rows += [{"measure": "auroc", "what": m, "value": v} for m, v in zip(table["method"], table["auroc"], strict=True)]
    for name, traits in choices_of_traits(everything, unknown).items():
        ways = {
            "ESZSL from known species": fit_zero_shot(train, traits.loc[[*known, *unknown]], seed=SEED),
            "ESZSL from all kinds": fit_zero_shot(everything, traits, seed=SEED),
            "exemplars from known species": fit_exemplars(train, traits.loc[[*known, *unknown]], seed=SEED),
            "exemplars from all kinds": fit_exemplars(everything, traits, known, seed=SEED),
        }
        for way, guesser in ways.items():
            value = guesser.predict(away, among="unseen").balanced_accuracy.value
            rows.append({"measure": "zero-shot", "what": f"{name}, {way}", "value": value})
    return rows


def main() -> None:
    """Measure, print means and deviations over the folds, record every fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--others", type=int, nargs="+", default=[1200], help="images of other kinds learnt beside")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = parser.parse_args()
    reproducibility.configure_threads()
    names = imgcls.data.load(DATA, image_size=SIDE).classes
    rows = []
    for fold, unknown in enumerate(deal(names, asked.folds)):
        for others in asked.others:
            rows += [{"fold": fold, **row} for row in one_fold(unknown, others)]
            asked.out.write_text(json.dumps(rows, indent=1) + "\n")
        shown = (
            pd.DataFrame(rows).groupby(["others", "measure", "what", "views"], sort=False)["value"].agg(["mean", "std"])
        )
        print(f"after fold {fold + 1} of {asked.folds}\n{shown.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
