"""Methods are compared over seeds and over images; averages and verdicts are those of the library's paired test."""

import numpy as np
import pytest
import torch

from course.seeds import compare_seeds, correct, seeds_table
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import paired_over_seeds


def runs(accuracy, seeds=3, n=400, start=0):
    found = []
    for seed in range(seeds):
        draws = torch.Generator().manual_seed(start + seed)
        labels = torch.zeros(n, dtype=torch.long)
        wrong = (torch.rand(n, generator=draws) > accuracy).long()
        found.append(Predictions(torch.eye(2)[wrong], labels, ("a", "b")))
    return found


def test_gains_are_those_of_the_paired_test_over_seeds():
    methods = {"plain": runs(0.5), "good": runs(0.9, start=10), "same": runs(0.9, start=20)}
    table = compare_seeds(methods).set_index("name")
    gain = paired_over_seeds(correct(methods["plain"]), correct(methods["good"]))
    assert table.loc["good", "gain"] == pytest.approx(gain.value)
    assert (table.loc["good", "verdict"], table.loc["same", "verdict"]) == ("better", "inconclusive")
    assert np.isnan(table.loc["plain", "gain"])
    against_first = compare_seeds(methods, reference="plain").set_index("name")
    assert against_first.loc["same", "verdict"] == "better"
    assert compare_seeds({"good": methods["good"], "plain": methods["plain"]})["verdict"].iloc[1] == "worse"
    text = seeds_table(table.reset_index())
    assert text["paired test over seeds"].tolist() == ["–", "better", "inconclusive"]
    assert text["mean of 3 seeds"].iloc[0].endswith("%")
