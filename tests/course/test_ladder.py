"""Sentences of notebook 05 hold for each outcome."""

from dataclasses import replace

import pandas as pd

from course.ladder import optimism_text, scaling_text, verdict_groups
from imgcls.evaluation.statistics import Interval
from imgcls.training import Recipe


def test_every_verdict_has_its_methods():
    table = pd.DataFrame({"name": ["plain", "a", "b", "c"], "verdict": [None, "inconclusive", "better", "better"]})
    assert verdict_groups(table) == "better: b, c; worse: none; inconclusive: a"


def test_the_optimism_of_a_choice_is_claimed_only_where_it_is_visible():
    assert optimism_text(Interval(0.012, -0.01, 0.034, 100), 30) == (
        "Choosing among 30 epochs adds 1.2 points on average. "
        "The central 95 % of the halvings are between -1.0 and +3.4 points."
    )
    none = optimism_text(Interval(-0.0001, -0.042, 0.04, 100), 3)
    assert none.startswith("Choosing among 3 epochs has no visible effect in this run (+0.0 points on average).")


def test_a_scaled_recipe_is_compared_with_the_whole_one():
    full = Recipe(epochs=15, batch_size=2000, resolution_schedule=((1, 20), (6, 32)))
    assert scaling_text(full, full) == (
        "This run has 15 epochs and batches of 2,000 images; image sides are 20 px from epoch 1, 32 px from epoch 6."
    )
    short = replace(full, epochs=5, batch_size=100, resolution_schedule=())
    assert scaling_text(full, short) == (
        "This run has 5 epochs instead of 15 and batches of 100 images instead of 2,000."
    )
