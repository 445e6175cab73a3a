import math
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from conftest import MeanColour
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support
from torch import nn

from course.forensics import predictions_from_confusion
from imgcls.evaluation import (
    Predictions,
    calibration_gap,
    compare,
    comparison_table,
    extract_features,
    fit_temperature,
    fit_threshold,
    flip_shift_tta,
    predict,
)
from imgcls.evaluation.statistics import mcnemar, wilson
from imgcls.models import backbone, create_model, head
from imgcls.training import build_seeded

CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def predictions():
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=draws)
    logits = torch.randn(300, 4, generator=draws) + 1.5 * torch.eye(4)[labels]
    return Predictions(logits, labels, CLASSES)


def test_metrics_agree_with_scikit_learn(predictions):
    truth, predicted = predictions.labels.numpy(), predictions.logits.argmax(1).numpy()
    assert predictions.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert predictions.loss == pytest.approx(log_loss(truth, predictions.logits.double().softmax(1).numpy()), rel=1e-5)
    assert np.array_equal(predictions.confusion(), confusion_matrix(truth, predicted))
    assert np.allclose(predictions.confusion(normalize=True).sum(1), 1)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted)
    table = predictions.per_class()
    assert np.allclose(table[["precision", "recall", "f1"]], np.stack([precision, recall, f1], 1))
    assert list(table.support) == list(support)
    assert predictions.macro()["f1"] == pytest.approx(f1.mean())


def test_the_worked_example_of_a_collapse():
    """CASES 01: [[100, 0], [60, 40]] is 70 % accuracy, 81 % precision, 70 % recall and 67 % F1."""
    labels = torch.tensor([0] * 100 + [1] * 100)
    predicted = torch.tensor([0] * 160 + [1] * 40)
    predictions = Predictions(torch.eye(2)[predicted] * 5, labels, ("fox", "elephant"))
    assert predictions.confusion().tolist() == [[100, 0], [60, 40]]
    assert {k: round(v, 2) for k, v in predictions.macro().items()} == {"precision": 0.81, "recall": 0.70, "f1": 0.67}
    assert predictions.predicted_share().to_dict() == pytest.approx({"fox": 0.8, "elephant": 0.2})
    behind = predictions_from_confusion(np.array([[100, 0], [60, 40]]), ("fox", "elephant"))
    assert torch.equal(behind.labels, labels)
    assert behind.confusion().tolist() == [[100, 0], [60, 40]]


def test_a_threshold_moves_answers_and_the_best_one_is_found():
    score = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.35, 0.9])
    predictions = Predictions(
        torch.stack([1 - score, score], 1).log(), torch.tensor([0, 0, 0, 1, 1, 1]), ("cat", "dog")
    )
    assert predictions.predicted.tolist() == [0, 0, 0, 0, 0, 1]
    assert predictions.with_threshold(0.32).predicted.tolist() == [0, 0, 0, 0, 1, 1]
    best = fit_threshold(predictions)
    assert best == pytest.approx(0.25)  # in the middle between 0.2 and 0.3
    assert predictions.with_threshold(best).balanced_accuracy.value == 1
    with pytest.raises(ValueError, match="separates two classes"):
        predictions.with_threshold(1.0)


def test_the_best_threshold_is_the_best_of_all_by_brute_force():
    draws = torch.Generator().manual_seed(3)
    labels = (torch.rand(200, generator=draws) < 0.2).long()
    logits = torch.randn(200, 2, generator=draws) + 1.2 * torch.eye(2)[labels] + torch.tensor([2.0, 0.0])
    predictions = Predictions(logits, labels, ("cat", "dog"))
    every = max(predictions.with_threshold(t).balanced_accuracy.value for t in np.linspace(0.001, 0.999, 999))
    found = predictions.with_threshold(fit_threshold(predictions)).balanced_accuracy.value
    assert found >= every
    assert found > predictions.balanced_accuracy.value + 0.1  # a half is far from the best here


def test_most_confused_and_top_losses_find_the_planted():
    labels = torch.tensor([0] * 5 + [1] * 5 + [2] * 5)
    predicted = labels.clone()
    predicted[0:3], predicted[5] = 2, 0
    logits = 4.0 * torch.eye(3)[predicted]
    logits[5] *= 3  # the surest mistake
    predictions = Predictions(logits, labels, ("a", "b", "c"))
    assert predictions.most_confused().to_numpy().tolist() == [["a", "c", 3], ["b", "a", 1]]
    assert predictions.top_losses(4).tolist() == [5, 0, 1, 2]


def test_examples_are_right_or_wrong_as_asked_and_spread_out():
    predictions = with_mistakes([3, 4, 20, 39])
    assert predictions.examples(correct=False, k=2).tolist() == [3, 39]
    assert predictions.examples(correct=False).tolist() == [3, 4, 20, 39]  # no more than there are
    right = predictions.examples(correct=True, k=5)
    assert predictions.correct[right].all()
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


def test_temperature_in_closed_form_at_any_scale_with_errors_and_without():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    flipped = torch.cat([1 - labels[:2], labels[2:]])
    for scale in (1e-3, 6.0, 1e5):
        logits = scale * torch.nn.functional.one_hot(labels, 2).float()
        smoothed = fit_temperature(Predictions(logits, labels, ("a", "b")))  # as if 8 of 9: scale / T = ln 8
        assert smoothed == pytest.approx(scale / math.log(8), rel=1e-5)
        some_wrong = fit_temperature(Predictions(logits, flipped, ("a", "b")))  # the best probability is 3/4
        assert some_wrong == pytest.approx(scale / math.log(3), rel=1e-5)


def test_useless_logits_get_uniform_confidences_and_equal_ones_stay():
    labels = torch.tensor([0, 1, 2] * 8)
    logits = 1000.0 * torch.nn.functional.one_hot((labels + 1) % 3, 3).float()
    useless = Predictions(logits, labels, CLASSES[:3])
    calm = useless.with_temperature(fit_temperature(useless))
    assert calm.confidence.max() < 0.3336
    assert calm.loss == pytest.approx(math.log(3), abs=1e-3)
    assert fit_temperature(Predictions(torch.ones(24, 3), labels, CLASSES[:3])) == 1
    assert fit_temperature(Predictions(torch.ones(24, 1), 0 * labels, ("cat",))) == 1
    tied = Predictions(torch.tensor([[2.0, 2.0, 0.0]] * 4), torch.tensor([1, 1, 0, 0]), CLASSES[:3])
    assert 0 < fit_temperature(tied) < 0.1  # the third class never occurs


def test_the_calibration_gap_is_confidence_minus_accuracy():
    logits = torch.tensor([[math.log(3), 0.0]] * 4)  # confidence 3/4
    gap = calibration_gap(Predictions(logits, torch.tensor([0, 0, 1, 1]), ("a", "b")))
    half = wilson(2, 4)
    assert (gap.value, gap.low, gap.high, gap.n) == pytest.approx((0.25, 0.75 - half.high, 0.75 - half.low, 4))


def test_predict_keeps_order_and_every_image(tiny):
    train, _ = tiny
    model = MeanColour()
    predictions = predict(model, train, batch_size=50)
    assert len(predictions) == len(train)
    assert predictions.accuracy == 1.0
    assert torch.allclose(predictions.logits, model(train.images), atol=1e-6)
    assert torch.equal(predictions.logits, predict(model, train, batch_size=7).logits)


class Recording(nn.Module):
    """Notes the mode in which it runs, and raises if told to."""

    def __init__(self):
        super().__init__()
        self.modes, self.fails = [], False

    def forward(self, x):
        self.modes.append(self.training)
        if self.fails:
            raise RuntimeError("planted")
        return x


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("run", [predict, extract_features])
def test_the_mode_of_every_module_is_restored_also_after_an_exception(tiny, run, fails):
    """As in a model in training whose backbone is frozen in evaluation mode, and the other way round."""
    for outer in (True, False):
        model = nn.Sequential(MeanColour(), nn.Sequential(Recording(), nn.Dropout()))
        model.train(outer)
        model[1].train(not outer)
        model[1][1].train(outer)
        model[1][0].fails = fails
        before = [module.training for module in model.modules()]
        with pytest.raises(RuntimeError, match="planted") if fails else nullcontext():
            run(model, tiny[0])
        assert not any(model[1][0].modes)
        assert [module.training for module in model.modules()] == before


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
    predicted = labels.clone()
    predicted[wrong] = 1
    return Predictions(5.0 * torch.eye(2)[predicted], labels, ("a", "b"))


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


def test_predictions_that_do_not_fit_into_memory_are_made_in_halves(tiny):
    class Narrow(MeanColour):
        sizes = ()

        def forward(self, images):
            self.sizes += (len(images),)
            if len(images) > 50:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(images)

    train, _ = tiny
    narrow = Narrow()
    with pytest.warns(UserWarning, match="images do not fit into memory: taking"):
        found = predict(narrow, train, batch_size=160)
    assert narrow.sizes[:4] == (160, 80, 40, 40)
    assert torch.equal(found.logits, predict(MeanColour(), train).logits)

    class Hopeless(MeanColour):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="taking 1 at a time"):
        predict(Hopeless(), train, batch_size=2)
