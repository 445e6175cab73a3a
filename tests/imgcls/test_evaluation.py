import copy
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support
from torch import nn

from course.diagnostics import CorrectEachEpoch, PredictionsEachEpoch
from course.forensics import matching_confusions, possible_sample_sizes, predictions_from_confusion
from course.mistakes import swapped_channels, with_batch_statistics, without_normalization, without_scaling
from imgcls.evaluation import (
    Predictions,
    compare,
    comparison_table,
    extract_features,
    fit_temperature,
    fit_threshold,
    flip_shift_tta,
    predict,
)
from imgcls.evaluation.statistics import mcnemar
from imgcls.models import Normalize, backbone, create_model, head
from imgcls.training import build_seeded

CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def answers():
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=draws)
    logits = torch.randn(300, 4, generator=draws) + 1.5 * torch.eye(4)[labels]
    return Predictions(logits, labels, CLASSES)


def test_metrics_agree_with_scikit_learn(answers):
    truth, said = answers.labels.numpy(), answers.logits.argmax(1).numpy()
    assert answers.accuracy == pytest.approx(accuracy_score(truth, said))
    assert answers.loss == pytest.approx(log_loss(truth, answers.logits.double().softmax(1).numpy()), rel=1e-5)
    assert np.array_equal(answers.confusion(), confusion_matrix(truth, said))
    assert np.allclose(answers.confusion(normalize=True).sum(1), 1)
    precision, recall, f1, support = precision_recall_fscore_support(truth, said)
    table = answers.per_class()
    assert np.allclose(table[["precision", "recall", "f1"]], np.stack([precision, recall, f1], 1))
    assert list(table.support) == list(support)
    assert answers.macro()["f1"] == pytest.approx(f1.mean())


def test_the_worked_example_of_a_collapse():
    """CASES 01: [[100, 0], [60, 40]] is 70 % accuracy, 81 % precision, 70 % recall and 67 % F1."""
    labels = torch.tensor([0] * 100 + [1] * 100)
    said = torch.tensor([0] * 160 + [1] * 40)
    answers = Predictions(torch.eye(2)[said] * 5, labels, ("fox", "elephant"))
    assert answers.confusion().tolist() == [[100, 0], [60, 40]]
    assert {k: round(v, 2) for k, v in answers.macro().items()} == {"precision": 0.81, "recall": 0.70, "f1": 0.67}
    assert answers.predicted_share().to_dict() == pytest.approx({"fox": 0.8, "elephant": 0.2})
    behind = predictions_from_confusion(np.array([[100, 0], [60, 40]]), ("fox", "elephant"))
    assert torch.equal(behind.labels, labels)
    assert behind.confusion().tolist() == [[100, 0], [60, 40]]


def test_printed_scores_give_the_table_away():
    """CASES 01: only [[100, 0], [60, 40]] and its mirror image give 70, 81, 70 and 67 per cent."""
    tables = matching_confusions(70, 81, 70, 67, each=100)
    assert tables.tolist() == [[[40, 60], [0, 100]], [[100, 0], [60, 40]]]
    for table in matching_confusions(60, 61, 60, 59, each=10):
        answers = predictions_from_confusion(table, ("a", "b"))
        scores = [answers.accuracy, *answers.macro().values()]
        assert [abs(100 * x - y) <= 0.5 for x, y in zip(scores, (60, 61, 60, 59), strict=True)] == [True] * 4
    assert len(matching_confusions(50, 90, 50, 10, each=10)) == 0


def test_the_answers_behind_a_confusion_matrix_have_it_again(answers):
    assert (
        predictions_from_confusion(answers.confusion(), answers.classes).confusion().tolist()
        == answers.confusion().tolist()
    )
    with pytest.raises(ValueError, match="as many rows and columns of counts"):
        predictions_from_confusion(np.ones((2, 3), dtype=int), ("a", "b"))


def test_a_threshold_parts_precision_from_recall(answers):
    at_half, at_zero = answers.micro_at_threshold(0.5), answers.micro_at_threshold(0.0)
    assert at_half["precision"] > answers.accuracy > at_half["recall"]
    by_hand = (answers.probabilities > 0.5) & nn.functional.one_hot(answers.labels, 4).bool()
    assert at_half["recall"] == pytest.approx(by_hand.sum().item() / 300)
    assert at_zero == {"precision": 0.25, "recall": 1.0}  # everything is said of every image


def test_a_threshold_moves_answers_and_the_best_one_is_found():
    score = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.35, 0.9])
    answers = Predictions(torch.stack([1 - score, score], 1).log(), torch.tensor([0, 0, 0, 1, 1, 1]), ("cat", "dog"))
    assert answers.predicted.tolist() == [0, 0, 0, 0, 0, 1]
    assert answers.with_threshold(0.32).predicted.tolist() == [0, 0, 0, 0, 1, 1]
    best = fit_threshold(answers)
    assert best == pytest.approx(0.25)  # in the middle between 0.2 and 0.3
    assert answers.with_threshold(best).balanced_accuracy.value == 1
    with pytest.raises(ValueError, match="parts two classes"):
        answers.with_threshold(1.0)


def test_the_best_threshold_is_the_best_of_all_by_brute_force():
    draws = torch.Generator().manual_seed(3)
    labels = (torch.rand(200, generator=draws) < 0.2).long()
    logits = torch.randn(200, 2, generator=draws) + 1.2 * torch.eye(2)[labels] + torch.tensor([2.0, 0.0])
    answers = Predictions(logits, labels, ("cat", "dog"))
    every = max(answers.with_threshold(t).balanced_accuracy.value for t in np.linspace(0.001, 0.999, 999))
    found = answers.with_threshold(fit_threshold(answers)).balanced_accuracy.value
    assert found >= every
    assert found > answers.balanced_accuracy.value + 0.1  # a half is far from the best here


def test_most_confused_and_top_losses_find_the_planted():
    labels = torch.tensor([0] * 5 + [1] * 5 + [2] * 5)
    said = labels.clone()
    said[0:3], said[5] = 2, 0
    logits = 4.0 * torch.eye(3)[said]
    logits[5] *= 3  # the surest mistake
    answers = Predictions(logits, labels, ("a", "b", "c"))
    assert answers.most_confused().to_numpy().tolist() == [["a", "c", 3], ["b", "a", 1]]
    assert answers.top_losses(4).tolist() == [5, 0, 1, 2]


def test_examples_are_right_or_wrong_as_asked_and_spread_out():
    answers = with_mistakes([3, 4, 20, 39])
    assert answers.examples(correct=False, k=2).tolist() == [3, 39]
    assert answers.examples(correct=False).tolist() == [3, 4, 20, 39]  # no more than there are
    right = answers.examples(correct=True, k=5)
    assert answers.correct[right].all()
    assert (right[0], right[-1]) == (0, 38)
    assert len(with_mistakes([]).examples(correct=False)) == 0


def test_temperature_finds_the_planted_overconfidence():
    draws = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(20_000, 4, generator=draws)
    labels = torch.multinomial(logits.softmax(1), 1, generator=draws).flatten()  # perfectly calibrated
    honest = Predictions(logits, labels, CLASSES)
    loud = Predictions(3 * logits, labels, CLASSES)
    assert fit_temperature(loud) == pytest.approx(3, rel=0.05)
    assert honest.ece < 0.02 < 0.1 < loud.ece
    assert loud.with_temperature(3).ece == pytest.approx(honest.ece, abs=1e-6)
    assert torch.equal(loud.with_temperature(3).predicted, loud.predicted)
    assert loud.reliability()["count"].sum() == 20_000


class MeanColour(nn.Module):
    """Answers with the strongest channel; float input is taken to be in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return x.mean((2, 3)) * self.scale


def test_predict_keeps_order_mode_and_every_image(tiny):
    train, _ = tiny
    model = MeanColour().train()
    answers = predict(model, train, batch_size=50)
    assert model.training
    assert len(answers) == len(train)
    assert answers.accuracy == 1.0
    assert torch.allclose(answers.logits, model(train.images), atol=1e-6)
    assert torch.equal(answers.logits, predict(model, train, batch_size=7).logits)


def test_mistakes_on_purpose_are_those_mistakes(tiny):
    train, _ = tiny
    model = MeanColour()
    assert torch.allclose(predict(model, train, transform=without_scaling).logits, 255 * model(train.images), rtol=1e-5)
    swapped = predict(model, train, transform=swapped_channels)
    assert torch.equal(swapped.predicted, 2 - train.labels)  # red is read as blue


def test_skipping_the_normalization_is_the_bare_network(tiny):
    train, _ = tiny
    bare = MeanColour()
    model = nn.Sequential(OrderedDict(normalize=Normalize(3).fit(train.images), network=bare))
    skipped = predict(model, train, transform=without_normalization(model))
    assert torch.allclose(skipped.logits, bare(train.images), atol=2e-3)  # bare takes means of pixels from 0 to 1
    assert not torch.allclose(predict(model, train).logits, skipped.logits, atol=0.1)


def test_a_head_on_kept_features_answers_like_the_whole_network(tiny):
    train, _ = tiny
    whole = create_model("simple_cnn", 3, image_size=train.images.shape[-1], blocks=2)
    whole.normalize.fit(train.images)
    kept = extract_features(backbone(whole), train, batch_size=32)
    assert kept.images.shape == (len(train), head(whole).in_features)
    assert torch.equal(kept.labels, train.labels)
    expected, found = predict(whole, train), predict(head(whole), kept)
    assert torch.allclose(found.logits, expected.logits, atol=2e-2)  # bfloat16 between the two parts
    assert whole.training


def test_predict_refuses_a_model_for_other_classes(tiny):
    model = nn.Sequential(MeanColour(), nn.Linear(3, 5))
    with pytest.raises(ValueError, match=r"5 outputs and the data 3 classes .*num_classes=3"):
        predict(model, tiny[0])


def with_mistakes(wrong: list[int], n: int = 40) -> Predictions:
    labels = torch.zeros(n, dtype=torch.long)
    said = labels.clone()
    said[wrong] = 1
    return Predictions(5.0 * torch.eye(2)[said], labels, ("a", "b"))


def test_compare_pairs_each_model_with_the_one_before():
    weak = [with_mistakes(list(range(20))), with_mistakes(list(range(16)))]
    strong = [with_mistakes(list(range(10, 14))), with_mistakes(list(range(18)))]
    table = compare({"weak": weak, "strong": strong}).set_index("name")
    test = mcnemar(weak[0].correct, strong[0].correct)
    assert table.loc["strong", "gain"] == pytest.approx(0.4) == test.difference
    assert table.loc["strong", "p_value"] == test.p_value
    assert table.loc["strong", "seeds_agree"] == 1  # +0.40 in the first seed, -0.05 in the second
    assert table.loc["weak", "mean"] == pytest.approx((0.5 + 0.6) / 2)
    assert table.loc["weak", "spread"] == pytest.approx(0.1 / np.sqrt(2))
    assert table.loc["weak", ["value", "low", "high"]].tolist() == pytest.approx([0.5, *interval_of(20, 40)])


def test_compare_pairs_all_models_with_one_reference():
    runs = {name: [with_mistakes(list(range(k)))] for name, k in (("a", 4), ("plain", 20), ("b", 12))}
    table = compare(runs, reference="plain").set_index("name")
    assert (
        table.loc["a", "gain"]
        == pytest.approx(0.4)
        == mcnemar(runs["plain"][0].correct, runs["a"][0].correct).difference
    )
    assert table.loc["b", "gain"] == pytest.approx(0.2)
    assert np.isnan(table.loc["plain", "gain"])
    assert comparison_table(compare(runs, reference="plain"))["p"][1] == "–"
    with pytest.raises(ValueError, match="no 'plan' to compare with; choose one of: a, plain, b"):
        compare(runs, reference="plan")


def test_printed_shares_give_away_how_many_images_there_were():
    shares = [f"{k / 91:.3f}".removeprefix("0") for k in (7, 33, 52, 60, 80)]
    assert possible_sample_sizes(shares, most=100) == [91]
    assert 182 in possible_sample_sizes(shares, most=200)  # twice as many could always be
    assert possible_sample_sizes([".5", "0.5"], most=5) == [2, 4]  # of five images, two are 0.4 and three are 0.6
    assert possible_sample_sizes(["0.333", "0.333333"], most=9) == [3, 6, 9]


def test_the_comparison_reads_as_it_was_measured():
    weak, strong = with_mistakes(list(range(20))), with_mistakes(list(range(10, 14)))
    text = comparison_table(compare({"weak": [weak], "strong": [strong]}))
    test = mcnemar(weak.correct, strong.correct)
    assert text.loc[0, "accuracy"] == str(weak.accuracy_interval)
    assert text.loc[0, "gain (points)"] == "–"
    assert text.loc[1, "gain (points)"] == f"+40.0 [{100 * test.low:+.1f}, {100 * test.high:+.1f}]"
    assert test.p_value < 1e-4
    assert text.loc[1, "p"] == "< 0.0001"


def interval_of(correct: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, correct / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def test_predictions_each_epoch_show_a_collapse(tiny):
    train, _ = tiny
    keep = PredictionsEachEpoch(train)
    model = MeanColour()
    keep(model, {})
    with torch.no_grad():
        model.scale.copy_(torch.tensor([100.0, 0.0, 0.0]))  # red wins always
    keep(model, {})
    frame = keep.frame().set_index(["panel", "x", "series"])
    assert frame.loc[("recall", 1, "green"), "value"] == 1
    assert frame.loc[("share of the answers", 2, "red"), "value"] == 1
    assert frame.loc[("recall", 2, "green"), "value"] == 0
    assert frame.loc[("recall", 2, "green"), "n"] == int((train.labels == 1).sum())
    assert frame.loc[("recall", 2, "green"), "high"] > 0


def test_batch_statistics_take_the_place_of_running_averages(tiny):
    train, _ = tiny
    model = nn.Sequential(Normalize(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model[2].running_mean.fill_(7.0)  # averages that fit nothing: every answer falls to the same class
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([0.0, 0.1, 0.2]))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    answers = predict(with_batch_statistics(model.eval()), train, batch_size=len(train))
    with torch.no_grad():
        expected = copy.deepcopy(model).train()(train.images)
    assert torch.allclose(answers.logits, expected, atol=0.02)
    assert not torch.allclose(predict(model, train).logits, expected, atol=0.5)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    keep = PredictionsEachEpoch(train, with_batch_statistics)
    keep(model, {})
    assert torch.equal(keep.epochs[0].logits, predict(with_batch_statistics(model), train).logits)


def test_answers_each_epoch_keeps_one_row_an_epoch(tiny):
    train, _ = tiny
    keep = CorrectEachEpoch(train)
    model = MeanColour()
    assert keep(model, {}) is None
    with torch.no_grad():
        model.scale.copy_(torch.tensor([1.0, 0.0, 0.0]))
    keep(model, {})
    assert keep.correct.shape == (2, len(train))
    assert keep.correct[0].all()
    assert torch.equal(keep.correct[1], train.labels == 0)


def test_views_are_averaged_logits(tiny):
    model = build_seeded(partial(create_model, "simple_cnn", num_classes=3, image_size=8, blocks=2), 0)
    split = tiny[1]
    views = flip_shift_tta(2)
    assert len(views) == 6
    by_hand = torch.stack([predict(model, split, transform=view).logits for view in views]).mean(0)
    torch.testing.assert_close(predict(model, split, tta=views).logits, by_hand)
    assert torch.equal(predict(model, split, tta=flip_shift_tta(0)[:1]).logits, predict(model, split).logits)
    with pytest.raises(ValueError, match="not both"):
        predict(model, split, transform=views[0], tta=views)


def test_views_mirror_and_move_by_whole_pixels():
    image = torch.arange(25, dtype=torch.uint8).view(1, 1, 5, 5)
    plain, mirrored, down, down_mirrored, up, _ = (view(image) for view in flip_shift_tta(1))
    assert torch.equal(plain, image)
    assert torch.equal(mirrored, image.flip(3))
    assert torch.equal(down[..., 1:, 1:], image[..., :-1, :-1])
    assert torch.equal(up[..., :-1, :-1], image[..., 1:, 1:])
    assert down[0, 0, 0, 1] == image[0, 0, 1, 0]  # reflected: the row above the first is the second
    assert torch.equal(down_mirrored[..., 1:, 1:], image.flip(3)[..., :-1, :-1])


def test_a_mean_over_fewer_seeds_says_so():
    runs = [Predictions(torch.eye(3)[labels], torch.tensor([0, 1, 2]), ("a", "b", "c")) for labels in ([0, 1, 2],) * 3]
    text = comparison_table(compare({"two": runs[:2], "three": runs, "one": runs[:1]}))
    assert text["mean of 3 seeds"].tolist() == ["100.0 ± 0.0 % (2 seeds)", "100.0 ± 0.0 %", "one seed"]
