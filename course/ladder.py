"""Sentences about the verdicts on methods, the choice of an epoch on the test set, and a scaled recipe."""

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from imgcls.evaluation.statistics import Interval
    from imgcls.training import Recipe

VERDICTS = ("better", "worse", "inconclusive")


def verdict_groups(table: pd.DataFrame) -> str:
    """The methods under each verdict: `better: + Muon; worse: none; inconclusive: + dropout, + augmentation`.

    Args:
        table: Columns name and verdict, as `course.seeds.compare_seeds` returns them; rows without a verdict are left
            out.
    """
    groups = {verdict: table.loc[table["verdict"] == verdict, "name"] for verdict in VERDICTS}
    return "; ".join(f"{verdict}: {', '.join(names) or 'none'}" for verdict, names in groups.items())


def optimism_text(optimism: "Interval", epochs: int) -> str:
    """What choosing among so many epochs on the test images adds to the accuracy on them, as a sentence.

    Args:
        optimism: From `course.forensics.selection_optimism`: mean over the halvings, with their central 95 %.
        epochs: Number of epochs to choose from.
    """
    mean, low, high = (round(100 * value, 1) + 0.0 for value in (optimism.value, optimism.low, optimism.high))
    spread = f"The central 95 % of the halvings are between {low:+.1f} and {high:+.1f} points."
    if mean > 0:
        return f"Choosing among {epochs} epochs adds {mean:.1f} points on average. {spread}"
    return f"Choosing among {epochs} epochs has no visible effect in this run ({mean:+.1f} points on average). {spread}"


def scaling_text(full: "Recipe", used: "Recipe") -> str:
    """How a run of a recipe differs from the recipe in epochs and batches, and when its image size grows."""
    sides = ", ".join(f"{side} px from epoch {first}" for first, side in used.resolution_schedule)
    epochs = f"{used.epochs} epochs" + (f" instead of {full.epochs}" if used.epochs != full.epochs else "")
    batch = f"batches of {used.batch_size:,} images"
    batch += f" instead of {full.batch_size:,}" if used.batch_size != full.batch_size else ""
    return f"This run has {epochs} and {batch}" + (f"; image sides are {sides}." if sides else ".")
