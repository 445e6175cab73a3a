"""Scores of maps on body parts, edges as a baseline, and further columns, against formulas by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from course import part_scores
from imgcls.evaluation.statistics import over_seeds
from imgcls.explain import energy_inside, localisation

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------ baselines
def test_edges_lie_on_edges():
    x = torch.zeros(2, 3, 56, 56)
    x[0, :, :, 28:] = 1.0
    x[1, :, 20:] = 0.5
    edges = part_scores.baseline_maps(x)["edges"]
    assert edges.shape == (2, 56, 56)
    assert set(edges[0].argmax(1).tolist()) <= {27, 28}
    assert set(edges[1].argmax(0).tolist()) <= {19, 20}
    assert edges[0].amax() == pytest.approx(2 * float(edges[1].amax()), rel=1e-4)
    profile = edges[0, 28] / edges[0, 28].amax()
    assert profile[27 - 4] == pytest.approx(np.exp(-(4.5**2) / 2 / 16) / np.exp(-(0.5**2) / 2 / 16), rel=0.05)
    assert profile[:10].max() < 1e-3
    whole = part_scores.baseline_maps((x * 255).round().to(torch.uint8))["edges"]
    torch.testing.assert_close(whole[0] / 255, edges[0], atol=1e-4, rtol=0)


def test_edges_are_one_baseline_more_in_the_table():
    masks = torch.zeros(30, 28, 28, dtype=torch.bool)
    masks[:, 10:18, 2:10] = True
    x = masks[:, None].float()
    plain, full = localisation({}, masks), localisation(part_scores.baseline_maps(x), masks)
    assert plain["method"].tolist() == ["centre", "random"]
    assert full["method"].tolist() == ["centre", "random", "edges"]
    assert full.iloc[:2].equals(plain)
    edges = full.set_index("method").loc["edges"]
    assert edges["energy"] == pytest.approx(float(energy_inside(part_scores.baseline_maps(x)["edges"], masks).mean()))
    assert edges["energy_low"] > full["energy_high"][0]  # an object on a plain ground is all edges


def test_added_scores_are_means_with_intervals():
    table = pd.DataFrame({"method": ["a", "b", "centre"]})
    values = torch.tensor([0.1, 0.3, 0.4])
    table = part_scores.add_scores(table, "road", {"centre": values, "a": -values})
    expected = over_seeds(values.tolist())
    assert table["road"].tolist()[::2] == pytest.approx([-expected.value, expected.value])
    assert table["road_low"].tolist()[::2] == pytest.approx([-expected.high, expected.low])
    assert table["road_high"].tolist()[::2] == pytest.approx([-expected.low, expected.high])
    assert table["road"].isna().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="no row for 'c'; the table has a, b, centre"):
        part_scores.add_scores(table, "road", {"c": values})


def test_maps_are_counted_below_the_best_baseline_and_above_all():
    rows = [("a", 0.3, 0.2, 0.4), ("b", 0.9, 0.8, 1.0), ("centre", 0.5, 0.4, 0.6), ("random", 0.1, 0.0, 0.7)]
    table = pd.DataFrame(rows, columns=["method", "road", "road_low", "road_high"]).assign(n=10)
    table = table.assign(iou=[0.1, 0.2, 0.3, 0.1], iou_low=0.0, iou_high=1.0)
    measures, blind = {"road": "ROAD", "iou": "overlap"}, ["centre", "random"]
    assert part_scores.above_baselines(table, blind) == {"road": ["b"], "iou": []}
    text = part_scores.baseline_text(table, blind, measures)
    assert text.startswith("Maps with a lower value than the best baseline: in ROAD, 1 of 2; in overlap, 2 of 2.")
    assert text.endswith("interval against interval: in ROAD, b; in overlap, none.")
    text = part_scores.baseline_text(table.drop(index=1), blind, measures)
    assert text.startswith("In all 2 measures, every map has a lower value than the best baseline. No map is above")
    alone = table[["method", "road", "road_low", "road_high"]].drop(index=1)
    assert "baseline: in ROAD, 1 of 1. No map" in part_scores.baseline_text(alone, blind, measures)


# ------------------------------------------------------------------ parts
def test_part_energy_by_hand():
    """Two images of four pixels: energies 1 2 3 4 and 0 0 5 5."""
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [5.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]])
    parts = torch.tensor([[[0, 1], [3, 3]], [[0, 0], [1, 3]], [[1, 1], [1, 1]]], dtype=torch.uint8)
    names = ("head", "wing", "tail")
    table = part_scores.part_energy(maps, parts, names)
    assert table["part"].tolist() == ["tail", "head", "background"]  # no wing anywhere; the empty map counts nowhere
    assert table["n"].tolist() == [2, 2, 2]
    assert table["shown"].tolist() == [2, 2, 2]
    assert table["energy"].tolist() == pytest.approx([(0.7 + 0.5) / 2, (0.2 + 0.5) / 2, 0.05])
    assert table["energy"].sum() == pytest.approx(1)
    assert table["area"].tolist() == pytest.approx([0.375, 0.25, 0.375])
    assert table["density"].tolist() == pytest.approx([1.6, 1.4, 0.05 / 0.375])
    expected = over_seeds([0.7, 0.5])
    assert (table["energy_low"][0], table["energy_high"][0]) == pytest.approx((expected.low, expected.high))

    by_class = part_scores.part_energy(maps, parts, names, torch.tensor([1, 0, 0]), ("cat", "dog"))
    assert by_class["class"].tolist() == ["all"] * 3 + ["cat"] * 3 + ["dog"] * 3
    dog = by_class[by_class["class"] == "dog"].set_index("part")
    assert dog["energy"].to_dict() == pytest.approx({"tail": 0.7, "head": 0.2, "background": 0.1})
    assert np.isnan(dog["energy_low"]).all()  # one image has no spread


def test_the_head_is_compared_with_the_rest_of_the_body():
    """Four pixels an image: background, trunk, ear and snout."""
    parts = torch.tensor([[[0, 1], [2, 3]]]).expand(20, -1, -1)
    names, head = ("trunk", "ear", "snout"), ("ear", "snout", "horn")
    noise = 0.01 * torch.rand((20, 2, 2), generator=torch.Generator().manual_seed(0))

    def groups(weights):
        return part_scores.head_energy(torch.tensor(weights) + noise, parts, names, head)

    table = groups([[1.0, 1.0], [3.0, 3.0]])
    assert set(table.index) == {"head", "rest of the body", "background"}
    assert table.loc["head", ["energy", "area", "density"]].tolist() == pytest.approx([0.75, 0.5, 1.5], abs=0.01)
    assert table.loc["rest of the body", "density"] == pytest.approx(0.5, abs=0.01)
    assert 'more of the maps for its size than the rest of the body, as in "facial' in part_scores.head_text(table)
    text = part_scores.head_table(table).set_index("group").loc["head"]
    assert text["share of the area"] == "50.0 %"
    assert text["maps / area"].startswith("1.5 [")
    assert "gets less of the maps" in part_scores.head_text(groups([[1.0, 3.0], [1.0, 1.0]]))
    assert "overlap), so the maps give no support" in part_scores.head_text(groups([[1.0, 2.0], [2.0, 2.0]]))


def test_a_map_that_knows_nothing_has_density_one_within_its_interval():
    draws = torch.Generator().manual_seed(0)
    parts = (torch.rand((200, 8, 8), generator=draws) * 3).long()
    noise = torch.rand((200, 8, 8), generator=draws)
    table = part_scores.part_energy(noise, parts, ("a", "b"))
    assert (table["density_low"] < 1).all()
    assert (table["density_high"] > 1).all()
    assert (table["density_high"] - table["density_low"] < 0.06).all()
    level = part_scores.part_energy(torch.ones(200, 8, 8), parts, ("a", "b"))
    assert np.allclose(level[["density", "density_low", "density_high"]], 1)
    knowing = part_scores.part_energy(noise * (1 + (parts == 2)), parts, ("a", "b")).set_index("part")
    assert knowing.loc["b", "density_low"] > 1.3


def test_the_interval_of_a_density_covers_as_often_as_it_says():
    """Over 300 samples of 30 images whose true density is 1."""
    draws, hits = torch.Generator().manual_seed(1), 0
    for _ in range(300):
        border = torch.randint(1, 8, (30, 1, 1), generator=draws)
        parts = (torch.arange(8)[None, None] < border).long().expand(-1, 8, -1)
        row = part_scores.part_energy(torch.rand((30, 8, 8), generator=draws) ** 4, parts, ("a",)).iloc[0]
        hits += row["density_low"] <= 1 <= row["density_high"]
    assert 0.91 <= hits / 300 <= 0.98


@pytest.mark.parametrize(
    ("maps", "parts", "names", "options", "message"),
    [
        (torch.ones(2, 2, 2), torch.ones(2, 2, 3).long(), ("a",), {}, r"\(2, 2, 2\) and parts \(2, 2, 3\)"),
        (-torch.ones(2, 2, 2), torch.ones(2, 2, 2).long(), ("a",), {}, "must not be negative"),
        (torch.ones(2, 2, 2), torch.full((2, 2, 2), 3), ("a",), {}, "part 3 has no name; 1 names"),
        (torch.zeros(2, 2, 2), torch.ones(2, 2, 2).long(), ("a",), {}, "zero everywhere"),
        (
            torch.ones(2, 2, 2),
            torch.ones(2, 2, 2).long(),
            ("a",),
            {"labels": [0, 1], "classes": ("x",)},
            "labels up to 1",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(maps, parts, names, options, message):
    with pytest.raises(ValueError, match=message):
        part_scores.part_energy(maps, parts, names, **options)
