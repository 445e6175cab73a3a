"""Unknown-class scores and their measures against closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn

from imgcls import openset
from imgcls.evaluation import FeatureSplit
from imgcls.evaluation.statistics import wilson

SEEN, UNSEEN, TRAITS, DIM = 12, 4, 6, 24
NAMES = tuple(f"kind {i}" for i in range(SEEN + UNSEEN))


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    """Classes that are a linear image of their traits: traits, and a maker of features around the class means."""
    rng = draws()
    traits = torch.randn(SEEN + UNSEEN, TRAITS, generator=rng)
    means = traits @ torch.randn(TRAITS, DIM, generator=rng)

    def split(classes, each, noise, seed):
        labels = torch.arange(len(classes)).repeat(each)
        x = means[list(classes)][labels] + noise * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(NAMES[c] for c in classes))

    return pd.DataFrame(traits.double().numpy(), index=list(NAMES)), split, means


@pytest.fixture(scope="module")
def trained(world):
    """Training features, the classifier that is best for them, known and unknown test features."""
    _, split, means = world
    train = split(range(SEEN), 40, 2.0, 1)
    classifier = nn.Linear(DIM, SEEN)
    with torch.no_grad():
        classifier.weight.copy_(means[:SEEN] / 4)
        classifier.bias.copy_(-means[:SEEN].square().sum(1) / 8)
        classifier.weight.sub_(classifier.weight.mean(0))
        classifier.bias.sub_(classifier.bias.mean())
    unknown = split(range(SEEN, SEEN + UNSEEN), 50, 2.0, 3)
    return train, classifier, split(range(SEEN), 30, 2.0, 2), unknown


# ------------------------------------------------------------------ scores
def test_scores_of_logits_against_their_formulas():
    logits = torch.randn(50, 7, generator=draws()) * 5
    x = logits.double().numpy()
    assert np.allclose(openset.max_softmax(logits), (np.exp(x) / np.exp(x).sum(1, keepdims=True)).max(1), rtol=1e-12)
    assert np.array_equal(openset.max_logit(logits), x.max(1))
    assert np.allclose(openset.energy(logits), np.log(np.exp(x).sum(1)), rtol=1e-12)
    assert np.allclose(openset.energy(logits, 2.5), 2.5 * np.log(np.exp(x / 2.5).sum(1)), rtol=1e-12)
    assert openset.energy(torch.tensor([[1000.0, 1000.0]])).item() == pytest.approx(1000 + np.log(2))


@pytest.mark.parametrize("k", [1, 3, 40])
def test_knn_against_brute_force(k, monkeypatch):
    monkeypatch.setattr(openset.scores, "CHUNK", 7)
    train, test = torch.randn(40, 5, generator=draws()), torch.randn(20, 5, generator=draws(1))
    expected = []
    for query in test.double().numpy():
        query = query / np.sqrt((query**2).sum())
        distances = [np.sqrt(((query - x / np.sqrt((x**2).sum())) ** 2).sum()) for x in train.double().numpy()]
        expected.append(-sorted(distances)[k - 1])
    assert np.allclose(openset.knn(train, k)(test), expected, atol=1e-12)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_mahalanobis_by_hand(shrinkage):
    rng = np.random.default_rng(0)
    x, y, test = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)), rng.integers(0, 3, 60), rng.normal(size=(9, 4))
    means = [x[y == c].mean(0) for c in range(3)]
    covariance = sum(np.outer(one - means[c], one - means[c]) for one, c in zip(x, y, strict=True)) / 60
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 4 * np.eye(4)
    expected = [max(-(f - m) @ np.linalg.inv(covariance) @ (f - m) for m in means) for f in test]
    labels = torch.tensor([10, 20, 30])[torch.from_numpy(y)]  # names of classes need not start at 0
    score = openset.mahalanobis(torch.from_numpy(x), labels, shrinkage)
    assert np.allclose(score(torch.from_numpy(test)), expected, rtol=1e-9)


def test_mahalanobis_shrinks_only_where_it_has_to():
    rng = draws()
    few, y = torch.randn(20, 30, generator=rng), torch.arange(20) % 2
    with pytest.raises(ValueError, match="20 features of 30 dimensions has no inverse; use a shrinkage"):
        openset.mahalanobis(few, y, shrinkage=0.0)
    assert openset.mahalanobis(few, y)(few).isfinite().all()
    many, y = torch.randn(5000, 3, generator=rng) * torch.tensor([1.0, 3.0, 9.0]), torch.arange(5000) % 2
    plain = openset.mahalanobis(many, y, shrinkage=0.0)(few[:, :3])
    assert np.allclose(openset.mahalanobis(many, y)(few[:, :3]), plain, rtol=0.03)


def test_vim_against_the_paper_line_by_line():
    rng = np.random.default_rng(0)
    x, test = rng.normal(size=(80, 6)) + 1, rng.normal(size=(10, 6)) * 2
    w, b = rng.normal(size=(6, 3)), rng.normal(size=3)  # the paper's W is (N, C)
    dim = 2
    origin = -np.linalg.pinv(w.T) @ b
    values, vectors = np.linalg.eig((x - origin).T @ (x - origin))
    r = vectors[:, np.argsort(-values)[dim:]]  # from the (D + 1)-th column to the last
    alpha = (x @ w + b).max(1).sum() / sum(np.linalg.norm(r @ r.T @ (f - origin)) for f in x)
    probability = []
    for f in test:
        virtual = alpha * np.linalg.norm(r @ r.T @ (f - origin))
        logits = w.T @ f + b
        probability.append(np.exp(virtual) / (np.exp(logits).sum() + np.exp(virtual)))
    tensors = [torch.from_numpy(array) for array in (x, w.T, b)]
    score = openset.vim(*tensors, dim=dim)(torch.from_numpy(test))
    assert np.allclose(1 / (1 + np.exp(score.numpy())), probability, rtol=1e-9)


def test_vim_reports_features_without_a_residual():
    x, w = torch.randn(30, 6, generator=draws()), torch.randn(3, 6, generator=draws(1))
    flat = x.clone()
    flat[:, 3:] = 0
    with pytest.raises(ValueError, match=r"mean residual .* lower dim"):
        openset.vim(flat, torch.cat([w[:, :3], torch.zeros(3, 3)], 1), dim=3)
    with pytest.raises(ValueError, match=r"mean largest logit of -\d"):
        openset.vim(x, w, torch.full((3,), -50.0))
    with pytest.raises(ValueError, match="dim = 6 leaves no residual of 6 features; choose 1 to 5"):
        openset.vim(x, w, dim=6)


def test_vim_finds_a_residual_where_images_are_fewer_than_half_of_the_dimensions():
    train = torch.randn(20, 64, generator=draws())
    score = openset.vim(train, torch.randn(4, 64, generator=draws(1)))
    assert score(train).isfinite().all()
    far = openset.vim(train, torch.randn(4, 64, generator=draws(1)), dim=10)
    assert torch.equal(score(train), far(train))  # half of the images


def test_every_detector_tells_unknown_classes_and_none_does_so_from_shuffled_features(trained):
    train, classifier, known, unknown = trained
    detectors = openset.fit_detectors(train, classifier)
    assert list(detectors) == ["max softmax", "max logit", "energy", "KNN", "Mahalanobis", "ViM"]
    x = torch.cat([known.images, unknown.images])
    is_unknown = torch.arange(len(x)) >= len(known.images)
    table = openset.detection_table(openset.unknown_scores(detectors, x), is_unknown)
    assert table["auroc"].min() > 0.65
    shuffled = x[torch.randperm(len(x), generator=draws())]
    table = openset.detection_table(openset.unknown_scores(detectors, shuffled), is_unknown)
    assert (table["auroc"] - 0.5).abs().max() < 0.07
    assert ((table["low"] < 0.5) & (table["high"] > 0.5)).sum() >= 5


def test_logit_scores_go_through_the_classifier_and_double_precision(trained):
    train, classifier, known, _ = trained
    scores = openset.unknown_scores(openset.fit_detectors(train, classifier), known.images)
    logits = known.images.double() @ classifier.weight.double().T + classifier.bias.double()
    assert torch.allclose(scores["energy"], logits.logsumexp(1), rtol=1e-12)
    assert all(score.dtype == torch.float64 and score.shape == (len(known.images),) for score in scores.values())
    assert all(not score.requires_grad for score in scores.values())


def test_auxiliary_log_odds_are_those_of_the_softmax_and_order_images_as_its_sum_does():
    logits = 3 * torch.randn(50, 7, generator=draws())
    p = logits.double().softmax(dim=1)[:, :4].sum(dim=1)
    assert torch.allclose(openset.auxiliary_log_odds(logits, 4), (p / (1 - p)).log(), rtol=1e-10)
    for known in (0, 7):
        with pytest.raises(ValueError, match=f"known = {known} of 7 classes; choose 1 to 6"):
            openset.auxiliary_log_odds(logits, known)


def test_classes_learnt_beside_the_known_ones_add_auxiliary_log_odds_and_change_no_other_score(trained):
    train, classifier, known, unknown = trained
    wide = nn.Linear(DIM, SEEN + 2)
    with torch.no_grad():
        wide.weight[:SEEN], wide.bias[:SEEN] = classifier.weight, classifier.bias
    alone, beside = openset.fit_detectors(train, classifier), openset.fit_detectors(train, wide, known=SEEN)
    assert list(beside) == [*alone, "auxiliary log odds"]
    x = torch.cat([known.images, unknown.images])
    assert all(torch.equal(alone[name](x), beside[name](x)) for name in alone)
    assert torch.allclose(beside["auxiliary log odds"](x), openset.auxiliary_log_odds(wide(x), SEEN), atol=1e-4)


def test_an_image_is_scored_alone_so_that_unknown_ones_change_nothing(trained):
    train, classifier, known, unknown = trained
    detectors = openset.fit_detectors(train, classifier)
    alone = openset.unknown_scores(detectors, known.images)
    beside = openset.unknown_scores(detectors, torch.cat([known.images, unknown.images * 100]))
    assert all(torch.allclose(alone[name], beside[name][: len(known.images)], rtol=1e-9) for name in alone)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("k = 41 is impossible with 40", lambda x: openset.knn(x, 41)),
        (r"logits of shape \(40,\)", lambda x: openset.max_logit(x[:, 0])),
        (r"1 of 40 rows of the training features are not finite", lambda x: openset.knn(x / x[0, 0].sub(x[:, :1]), 3)),
        (r"features of shape \(40, 4\), expected \(N, 5\)", lambda x: openset.knn(x, 3)(x[:, :4])),
        ("temperature 0 is not above 0", lambda x: openset.energy(x, 0)),
        (
            "must be linear on 5 features",
            lambda x: openset.fit_detectors(FeatureSplit(x, torch.zeros(40).long(), ("a",)), nn.Linear(6, 3)),
        ),
    ],
)
def test_wrong_input_is_named(message, wrong):
    with pytest.raises(ValueError, match=message):
        wrong(torch.randn(40, 5, generator=draws()))


# ------------------------------------------------------------------ measures
def scored(seed, m=150, n=80, gap=1.0, spread=1.0, decimals=9):
    rng = np.random.default_rng(seed)
    return (rng.normal(gap, spread, m)).round(decimals), rng.normal(size=n).round(decimals)


@pytest.mark.parametrize("decimals", [9, 0])  # 0: most scores are tied
def test_auroc_and_its_curve_agree_with_scikit_learn(decimals):
    known, unknown = scored(0, decimals=decimals)
    truth, values = np.repeat([1, 0], [150, 80]), np.concatenate([known, unknown])
    found = openset.auroc(torch.from_numpy(known), torch.from_numpy(unknown))
    assert found.value == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    assert found.n == 230
    curve = openset.detection_curve(known, unknown)
    assert np.array_equal(curve[["unknown_kept", "known_kept", "threshold"]].to_numpy().T, roc_curve(truth, values))
    assert np.trapezoid(curve["known_kept"], curve["unknown_kept"]) == pytest.approx(found.value, abs=1e-12)


def test_delong_against_its_definition_by_pairs():
    known, unknown = scored(1, m=12, n=9, decimals=1)
    other_known, other_unknown = scored(2, m=12, n=9, decimals=1)

    def parts(known, unknown):
        wins = np.array([[(k > u) + (k == u) / 2 for u in unknown] for k in known])
        return wins.mean(), wins.mean(1), wins.mean(0)

    area, by_known, by_unknown = parts(known, unknown)
    deviation = np.sqrt(by_known.var(ddof=1) / 12 + by_unknown.var(ddof=1) / 9)
    found = openset.auroc(known, unknown)
    odds = np.log(area / (1 - area)) + np.array([-1, 1]) * stats.norm.ppf(0.975) * deviation / area / (1 - area)
    assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-odds))), abs=1e-12)

    other_area, other_by_known, other_by_unknown = parts(other_known, other_unknown)
    cov_known, cov_unknown = np.cov(by_known, other_by_known), np.cov(by_unknown, other_by_unknown)
    variance = (np.array([1, -1]) @ (cov_known / 12 + cov_unknown / 9) @ [1, -1]).item()
    test = openset.compare_auroc(known, unknown, other_known, other_unknown)
    assert test.difference == pytest.approx(other_area - area)
    assert test.high - test.low == pytest.approx(2 * stats.norm.ppf(0.975) * np.sqrt(variance))
    assert test.p_value == pytest.approx(2 * stats.norm.sf(abs(other_area - area) / np.sqrt(variance)))


@pytest.mark.parametrize(("gap", "spread"), [(0.0, 1.0), (1.2, 1.0), (1.5, 2.0), (2.6, 1.0)])
def test_the_interval_of_auroc_covers_the_truth_as_often_as_it_says(gap, spread):
    truth = stats.norm.cdf(gap / np.sqrt(1 + spread**2))
    found = [openset.auroc(*scored(seed, gap=gap, spread=spread)) for seed in range(800)]
    assert 0.93 < np.mean([one.low <= truth <= one.high for one in found]) < 0.97


def test_the_interval_of_fpr_covers_the_truth_and_would_not_with_the_threshold_taken_as_given():
    truth, covered, taken_as_given = stats.norm.sf(stats.norm.ppf(0.05) + 1.5), [], []
    for seed in range(600):
        known, unknown = scored(seed, m=400, n=300, gap=1.5)
        found = openset.fpr_at_tpr(known, unknown)
        plain = wilson(round(found.value * 300), 300)
        covered.append(found.low <= truth <= found.high)
        taken_as_given.append(plain.low <= truth <= plain.high)
    assert 0.93 < np.mean(covered) < 0.975
    assert np.mean(taken_as_given) < 0.9


def test_a_perfect_score_still_leaves_doubt():
    found = openset.auroc(np.arange(50.0) + 100, np.arange(20.0))
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(wilson(20, 20).low), 1.0)
    found = openset.auroc(np.arange(20.0), np.arange(50.0) + 100)
    assert (found.value, found.high) == (0.0, pytest.approx(wilson(0, 20).high))
    assert openset.auroc(np.ones(20), np.ones(30)).value == 0.5


def test_the_paired_test_is_right_under_the_null_and_sharper_than_two_intervals():
    p_values = []
    for seed in range(600):
        known, unknown = scored(seed, gap=1.0)
        noise = scored(1000 + seed, gap=0.0), scored(2000 + seed, gap=0.0)
        (ak, au), (bk, bu) = ((known + k, unknown + u) for k, u in noise)
        p_values.append(openset.compare_auroc(ak, au, bk, bu).p_value)
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.075
    known, unknown = scored(0)
    worse = scored(1, gap=0.0)
    better = openset.compare_auroc(known + 2 * worse[0], unknown + 2 * worse[1], known, unknown)
    assert better.significant
    assert better.low > 0
    assert "points [+" in str(better)
    same = openset.compare_auroc(known, unknown, known, unknown)
    assert (same.difference, same.p_value, same.significant) == (0.0, 1.0, False)
    with pytest.raises(ValueError, match=r"same images twice, got \[150, 80\] and \[149, 80\]"):
        openset.compare_auroc(known, unknown, known[1:], unknown)


@pytest.mark.parametrize(
    ("n", "keep", "kept"), [(100, 0.95, 95), (100, 0.55, 55), (10, 0.9, 9), (10, 0.91, 10), (7, 1.0, 7), (3, 0.01, 1)]
)
def test_the_threshold_is_the_highest_that_keeps_enough(n, keep, kept):
    scores = torch.randperm(n, generator=draws()).double()
    threshold = openset.threshold_at_tpr(scores, keep)
    assert int((scores >= threshold).sum()) == kept
    assert threshold in scores.tolist()
    with pytest.raises(ValueError, match="tpr = 95 is not a true positive rate"):
        openset.threshold_at_tpr(scores, 95)


def test_fpr_by_hand():
    known, unknown = np.arange(1, 101.0), np.array([0.0, 5.0, 6.0, 50.0, 500.0])
    assert openset.fpr_at_tpr(known, unknown).value == 3 / 5  # 95 of 100 lie at 6 or above
    assert openset.fpr_at_tpr(known, unknown, tpr=0.96).value == 4 / 5


def test_the_table_puts_the_baseline_first_and_compares_with_it():
    parts = {name: scored(seed, gap=gap) for seed, (name, gap) in enumerate({"ViM": 2.0, "max softmax": 0.7}.items())}
    scores = {name: torch.from_numpy(np.concatenate(pair)) for name, pair in parts.items()}
    is_unknown = torch.arange(230) >= 150
    table = openset.detection_table(scores, is_unknown).set_index("method")
    assert list(table.index) == ["max softmax", "ViM"]
    test = openset.compare_auroc(*parts["max softmax"], *parts["ViM"])
    assert table.loc["ViM", ["gain", "gain_low", "p_value"]].tolist() == [test.difference, test.low, test.p_value]
    assert table.loc["ViM", "auroc"] == openset.auroc(*parts["ViM"]).value
    assert table.loc["ViM", "fpr95_high"] == openset.fpr_at_tpr(*parts["ViM"]).high
    assert table.loc["max softmax", ["gain", "p_value"]].isna().all()
    with pytest.raises(ValueError, match="no score 'max softmax' to compare with; there are 'ViM'"):
        openset.detection_table({"ViM": scores["ViM"]}, is_unknown)
    with pytest.raises(ValueError, match="is_unknown has 229 images"):
        openset.detection_table(scores, is_unknown[1:])
    with pytest.raises(ValueError, match="1 of 150 known scores are not a number"):
        openset.auroc(np.append(np.nan, parts["ViM"][0][1:]), parts["ViM"][1])
