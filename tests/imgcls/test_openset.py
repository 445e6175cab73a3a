"""Unknown-class scores and zero-shot learning against closed forms, and with nothing unknown leaking into a choice."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.spatial import distance
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn

from imgcls import openset
from imgcls.evaluation import FeatureSplit
from imgcls.evaluation.statistics import Interval, wilson

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


def test_vim_says_when_it_has_nothing_to_go_by():
    x, w = torch.randn(30, 6, generator=draws()), torch.randn(3, 6, generator=draws(1))
    flat = x.clone()
    flat[:, 3:] = 0
    with pytest.raises(ValueError, match=r"mean residual .* lower dim"):
        openset.vim(flat, torch.cat([w[:, :3], torch.zeros(3, 3)], 1), dim=3)
    with pytest.raises(ValueError, match=r"mean largest logit of -\d"):
        openset.vim(x, w, torch.full((3,), -50.0))
    with pytest.raises(ValueError, match="dim = 6 leaves no residual of 6 features; choose 1 to 5"):
        openset.vim(x, w, dim=6)


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


def test_known_odds_are_those_of_the_softmax_and_order_images_as_its_sum_does():
    logits = 3 * torch.randn(50, 7, generator=draws())
    p = logits.double().softmax(dim=1)[:, :4].sum(dim=1)
    assert torch.allclose(openset.outlier_log_odds(logits, 4), (p / (1 - p)).log(), rtol=1e-10)
    for known in (0, 7):
        with pytest.raises(ValueError, match=f"known = {known} of 7 classes; choose 1 to 6"):
            openset.outlier_log_odds(logits, known)


def test_classes_learnt_beside_the_known_ones_make_known_odds_and_change_no_other_score(trained):
    train, classifier, known, unknown = trained
    wide = nn.Linear(DIM, SEEN + 2)
    with torch.no_grad():
        wide.weight[:SEEN], wide.bias[:SEEN] = classifier.weight, classifier.bias
    alone, beside = openset.fit_detectors(train, classifier), openset.fit_detectors(train, wide, known=SEEN)
    assert list(beside) == [*alone, "outlier-exposure log odds"]
    x = torch.cat([known.images, unknown.images])
    assert all(torch.equal(alone[name](x), beside[name](x)) for name in alone)
    assert torch.allclose(beside["outlier-exposure log odds"](x), openset.outlier_log_odds(wide(x), SEEN), atol=1e-4)


def test_scores_put_together_count_in_deviations_over_known_images(trained):
    train, classifier, known, unknown = trained
    detectors = openset.fit_detectors(train, classifier)
    half, rest = known.images[::2], torch.cat([known.images[1::2], unknown.images])
    both = openset.sum_standardized(detectors, ["KNN", "energy"], half)
    parts = [(detectors[n](rest) - detectors[n](half).mean()) / detectors[n](half).std(correction=0) for n in detectors]
    assert torch.allclose(both(rest), parts[3] + parts[2], rtol=1e-12)
    steep = detectors | {"energy": lambda x: 1e6 * detectors["energy"](x) + 5}  # another unit changes nothing
    assert torch.allclose(openset.sum_standardized(steep, ["KNN", "energy"], half)(rest), both(rest), rtol=1e-9)
    with pytest.raises(ValueError, match="no score 'knn'; choose among max softmax"):
        openset.sum_standardized(detectors, ["knn"], half)
    with pytest.raises(ValueError, match="'flat' is the same for all"):
        openset.sum_standardized(detectors | {"flat": lambda x: torch.zeros(len(x))}, ["KNN", "flat"], half)


def test_an_image_is_scored_alone_so_that_unknown_ones_change_nothing(trained):
    train, classifier, known, unknown = trained
    detectors = openset.fit_detectors(train, classifier)
    alone = openset.unknown_scores(detectors, known.images)
    beside = openset.unknown_scores(detectors, torch.cat([known.images, unknown.images * 100]))
    assert all(torch.allclose(alone[name], beside[name][: len(known.images)], rtol=1e-9) for name in alone)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("k = 41 is no neighbour among 40", lambda x: openset.knn(x, 41)),
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
    assert better.decided
    assert better.low > 0
    assert "points [+" in str(better)
    same = openset.compare_auroc(known, unknown, known, unknown)
    assert (same.difference, same.p_value, same.decided) == (0.0, 1.0, False)
    with pytest.raises(ValueError, match=r"same images twice, got \[150, 80\] and \[149, 80\]"):
        openset.compare_auroc(known, unknown, known[1:], unknown)


@pytest.mark.parametrize(
    ("n", "keep", "kept"), [(100, 0.95, 95), (100, 0.55, 55), (10, 0.9, 9), (10, 0.91, 10), (7, 1.0, 7), (3, 0.01, 1)]
)
def test_the_threshold_is_the_highest_that_keeps_enough(n, keep, kept):
    scores = torch.randperm(n, generator=draws()).double()
    threshold = openset.threshold_keeping(scores, keep)
    assert int((scores >= threshold).sum()) == kept
    assert threshold in scores.tolist()
    with pytest.raises(ValueError, match="keep = 95 is no share"):
        openset.threshold_keeping(scores, 95)


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


@pytest.mark.parametrize("label", [3, -1, 7])
def test_open_set_accuracy_counted_by_hand(label):
    """Eight images of three classes, six of them right, and two unknown ones: no closed set beats 80 %."""
    said = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1, 1])
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 1, 2, label, label])
    scores = torch.tensor([9, 9, 9, 9, 9, 1, 1, 9, 1, 9.0])
    table = openset.open_set_accuracy(torch.eye(3)[said], labels, scores, 5.0).set_index("what")
    assert table["value"].to_dict() == {
        "closed set": 0.6,
        "ceiling of a closed set": 0.8,
        'with "unknown"': 0.6,  # one known image lost, one unknown caught
        "known, closed set": 0.75,
        'known, with "unknown"': 5 / 8,
        "unknown caught": 0.5,
    }
    assert table.loc["closed set", ["low", "high"]].tolist() == [wilson(6, 10).low, wilson(6, 10).high]
    assert table.loc["unknown caught", "n"] == 2
    assert table.loc['with "unknown"', "p_value"] == 1.0
    assert table.loc["ceiling of a closed set", ["low", "high"]].isna().all()
    never = openset.open_set_accuracy(torch.eye(3)[said], labels, scores, -np.inf).set_index("what")["value"]
    assert never['with "unknown"'] == never["closed set"]
    assert never["unknown caught"] == 0
    with pytest.raises(ValueError, match="8 known and 0 unknown images"):
        openset.open_set_accuracy(torch.eye(3)[said[:8]], labels[:8], scores[:8], 5.0)


# ------------------------------------------------------------------ zero-shot from traits
def test_eszsl_against_the_published_closed_form():
    rng = np.random.default_rng(0)
    n, d, z, a = 30, 5, 4, 3
    x, s, y = rng.normal(size=(d, n)), rng.normal(size=(a, z)), rng.integers(0, z, n)  # the paper's orientation
    target = np.full((n, z), -1.0)
    for i in range(n):
        target[i, y[i]] = 1
    gamma, lam = 0.7, 0.2
    v = np.linalg.inv(x @ x.T + gamma * np.eye(d)) @ x @ target @ s.T @ np.linalg.inv(s @ s.T + lam * np.eye(a))
    found = openset.eszsl(torch.from_numpy(x.T), torch.from_numpy(y), torch.from_numpy(s.T), gamma, lam)
    assert np.allclose(found, v, rtol=1e-9)
    with pytest.raises(ValueError, match="gamma = 0 and lam = 1 must be above 0"):
        openset.eszsl(torch.from_numpy(x.T), torch.from_numpy(y), torch.from_numpy(s.T), 0, 1)


def test_traits_that_predict_the_classes_exactly_find_every_unseen_image():
    """Features are a linear image of ten traits, and 40 seen classes are enough to learn all ten."""
    rng = draws()
    traits = torch.randn(45, 10, generator=rng).sign().unique(dim=0)
    traits = traits[torch.randperm(len(traits), generator=rng)]
    names = [f"kind {i}" for i in range(len(traits))]
    means = traits @ torch.randn(10, DIM, generator=rng)

    def split(first, last, seed):
        labels = torch.arange(last - first).repeat(10)
        x = means[first:last][labels] + 0.01 * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(names[first:last]))

    frame = pd.DataFrame(traits.numpy(), index=names)
    model = openset.fit_zero_shot(split(0, 40, 1), frame)
    seen, unseen = split(0, 40, 2), split(40, len(traits), 3)
    table = openset.zero_shot_table(model, seen, unseen).set_index(["setting", "measure"])["value"]
    assert table["unseen only", "unseen"] == 1.0
    assert table["all classes, calibrated", "harmonic mean"] > 0.95
    lies = frame.iloc[[*range(40), *range(41, len(traits)), 40]].set_axis(names)  # each unseen class gets another's
    assert openset.fit_zero_shot(split(0, 40, 1), lies).answers(unseen, among="unseen").accuracy == 0.0


def test_pictures_tell_the_traits_that_are_in_them_and_no_others():
    """Ten classes' worth of noise cannot be learnt from others; a linear trait can, and a shared one says nothing."""
    rng = draws()
    shown, hidden = torch.randn(2, 60, 3, generator=rng)
    names = [f"kind {i}" for i in range(60)]
    labels = torch.arange(60).repeat_interleave(4)
    x = (shown @ torch.randn(3, DIM, generator=rng))[labels] + 0.1 * torch.randn(240, DIM, generator=rng)
    frame = pd.DataFrame(torch.cat([shown, hidden, torch.ones(60, 1)], dim=1).numpy(), names, list("abcdefg"))
    order = torch.randperm(240, generator=rng)
    train = FeatureSplit(x[order], labels[order], tuple(names))
    told = openset.predictability(train, pd.concat([frame, frame.iloc[:3].set_axis(["x", "y", "z"])]))
    assert told[["a", "b", "c"]].min() > 0.6
    assert told[["d", "e", "f"]].max() < 0.1
    assert told["g"] == -np.inf
    mixed = FeatureSplit(x[order], labels[order], tuple(names[i] for i in torch.randperm(60, generator=rng)))
    assert openset.predictability(mixed, frame)[["a", "b", "c"]].max() < 0.1  # another class's traits
    with pytest.raises(ValueError, match="60 classes in 40 folds; take at most 30"):
        openset.predictability(train, frame, folds=40)


def test_answers_and_weights_are_those_of_the_closed_form(world):
    traits, split, _ = world
    train, test = split(range(SEEN), 20, 2.0, 1), split(range(SEEN), 5, 2.0, 2)
    model = openset.fit_zero_shot(train, traits)
    x, t = train.images.double(), torch.tensor(traits.to_numpy(float))
    centre, scale = x.mean(0), (x - x.mean(0)).square().mean().sqrt()
    t = (t - t[:SEEN].mean(0)) / t[:SEEN].std(0, correction=0)
    t = t / t.norm(dim=1, keepdim=True)
    weights = openset.eszsl((x - centre) / scale, train.labels, t[:SEEN], model.gamma, model.lam)
    expected = (test.images.double() - centre) / scale @ weights @ t.T
    assert torch.allclose(model.scores(test.images), expected, rtol=1e-6)
    assert model.gamma in [len(x) * g for g in openset.traits.STRENGTHS]
    assert model.lam in [SEEN * g for g in openset.traits.STRENGTHS]
    assert len(model.trials) == len(openset.traits.STRENGTHS) ** 2


def test_penalties_and_calibration_do_not_see_what_is_unseen(world):
    """Other traits of the unseen classes, the only thing of theirs that goes in, change nothing that was chosen."""
    traits, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    model = openset.fit_zero_shot(train, traits, seed=5)
    replaced = traits.copy()
    replaced.iloc[SEEN:] = 1000 * np.random.default_rng(0).normal(size=(UNSEEN, TRAITS))
    other = openset.fit_zero_shot(train, replaced, seed=5)
    assert torch.equal(model.weights, other.weights)
    assert (model.gamma, model.lam, model.calibration) == (other.gamma, other.lam, other.calibration)
    assert torch.equal(model.traits[:SEEN], other.traits[:SEEN])
    assert model.trials.equals(other.trials)
    assert not torch.equal(model.traits[SEEN:], other.traits[SEEN:])


def test_held_out_classes_and_images_take_no_part_in_their_trial(world):
    traits, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    x, t = train.images.double(), torch.tensor(traits.to_numpy(float))[:SEEN]
    folds = openset.traits.deal(train.labels, SEEN, UNSEEN, seed=0)
    assert sorted(torch.cat([held for held, _ in folds]).tolist()) == list(range(SEEN))
    assert [len(held) for held, _ in folds] == [3, 3, 3, 3]  # as 4 unseen are to 16 classes
    for held, aside in folds:
        assert train.labels[aside].bincount().tolist() == [4] * SEEN
        took_part = ~(aside | torch.isin(train.labels, held))
        changed = torch.where(took_part[:, None], x, x + 1000)
        one, other = (
            next(openset.traits._trial(z, train.labels, t, held, aside, (1.0,), (1.0,)))[2:] for z in (x, changed)
        )
        shift = (other[0] - one[0]) - (other[0] - one[0])[:1]
        assert shift.abs().max() < 1e-6 * (other[0] - one[0]).abs().max()  # the same solution, on moved images
        assert len(one[0]) == int((~took_part).sum())
        assert one[2] == SEEN - len(held)
        rest = [c for c in range(SEEN) if c not in held]
        order = torch.tensor([*rest, *held.tolist()])
        assert torch.equal(order[one[1]], train.labels[~took_part])


def test_calibrated_stacking_at_its_extremes(world):
    traits, split, _ = world
    model = openset.fit_zero_shot(split(range(SEEN), 20, 3.0, 1), traits)
    seen, unseen = split(range(SEEN), 10, 3.0, 2), split(range(SEEN, SEEN + UNSEEN), 25, 3.0, 3)
    table = openset.zero_shot_table(model, seen, unseen).set_index(["setting", "measure"])["value"]
    curve = openset.stacking_curve(model, seen, unseen)
    plain = model.scores(unseen.images).argmax(1) == unseen.labels + SEEN
    assert table["all classes", "unseen"] == pytest.approx(plain.double().mean().item())  # 0 leaves the scores alone
    last, first = curve.iloc[-1], curve.iloc[0]
    assert (last["calibration"], last["seen"]) == (np.inf, 0.0)
    assert last["unseen"] == pytest.approx(table["unseen only", "unseen"])  # only unseen classes are left
    assert (first["unseen"], first["harmonic"]) == (0.0, 0.0)
    closed = model.scores(seen.images)[:, :SEEN].argmax(1) == seen.labels
    assert first["seen"] == pytest.approx(closed.double().mean().item())
    assert curve["seen"].is_monotonic_decreasing
    assert curve["unseen"].is_monotonic_increasing
    assert 0 < curve["area"][0] < first["seen"] * last["unseen"] + 1e-12
    infinite = model.answers(unseen, calibration=float("inf"))
    assert infinite.accuracy == pytest.approx(last["unseen"])
    chosen, without = (table[f"all classes{which}", "harmonic mean"] for which in (", calibrated", ""))
    assert without + 0.03 < chosen <= curve["harmonic"].max() + 0.02


def test_the_calibration_is_the_best_of_all_on_what_it_is_chosen_on():
    rng = draws()
    labels = torch.arange(6).repeat(30)
    scores = torch.randn(180, 6, generator=rng).double() + 1.5 * torch.eye(6)[labels]
    scores[:, :4] += 2  # seen classes shout
    trial = (scores, labels, 4)

    def harmonic(calibration):
        shifted = scores.clone()
        shifted[:, :4] -= calibration
        right = (shifted.argmax(1) == labels).double()
        recalls = [right[labels == c].mean().item() for c in range(6)]
        seen, unseen = np.mean(recalls[:4]), np.mean(recalls[4:])
        return 2 * seen * unseen / max(seen + unseen, 1e-12)

    best = max(harmonic(c) for c in np.linspace(-5, 8, 1301))
    assert harmonic(openset.choose_calibration([trial]) - 1e-9) == pytest.approx(best, abs=0.01)
    assert harmonic(0.0) < best - 0.1


def test_traits_are_standardised_by_the_seen_classes_and_what_none_varies_is_left_out():
    traits = torch.tensor([[1.0, 7.0, 2.0], [3.0, 7.0, 4.0], [5.0, 7.0, 0.0], [9.0, 8.0, 2.0]]).double()
    first, last = (traits[:, 0] - 3) / np.sqrt(8 / 3), (traits[:, 2] - 2) / np.sqrt(8 / 3)
    length = (first**2 + last**2).sqrt()
    expected = torch.stack([first / length, torch.zeros(4), last / length], 1)
    assert torch.allclose(openset.traits._standardized(traits, 3), expected)


def test_exemplars_are_those_of_a_kernel_ridge_and_its_penalty_foretells_left_out_classes_best(world):
    traits, split, _ = world
    train = split(range(SEEN), 30, 2.0, 1)
    model = openset.fit_exemplars(train, traits)
    x, y, t = train.images.double().numpy(), train.labels.numpy(), traits.to_numpy(float)
    means = np.stack([x[y == c].mean(0) for c in range(SEEN)])
    t = (t - t[:SEEN].mean(0)) / t[:SEEN].std(0)
    squares = distance.squareform(distance.pdist(t, "sqeuclidean"))
    kernel = np.exp(-squares / np.median(distance.pdist(t[:SEEN], "sqeuclidean")))
    centre, everyone = means.mean(0), np.arange(SEEN)

    def foretold(learn, ask, penalty):
        ridge = KernelRidge(alpha=penalty, kernel="precomputed").fit(
            kernel[np.ix_(learn, learn)], (means - centre)[learn]
        )
        return centre + ridge.predict(kernel[np.ix_(ask, learn)])

    errors = {}
    for penalty in openset.exemplars.PENALTIES:
        off = [foretold(np.delete(everyone, c), [c], penalty)[0] - means[c] for c in everyone]
        errors[penalty] = np.square(off).sum()
    assert model.penalty == min(errors, key=errors.get)
    unseen = foretold(everyone, np.arange(SEEN, SEEN + UNSEEN), model.penalty)
    test = split(range(SEEN, SEEN + UNSEEN), 3, 2.0, 2).images
    expected = -distance.cdist(test.double().numpy(), np.concatenate([means, unseen]), "sqeuclidean")
    assert np.allclose(model.scores(test), expected, rtol=1e-6)


def test_exemplars_name_what_no_image_showed_and_nothing_when_the_traits_lie():
    rng = draws()
    traits = torch.rand(68, 3, generator=rng)
    means = torch.cat([traits, traits.square()], dim=1) @ torch.randn(6, DIM, generator=rng)  # not linear
    names = [f"kind {i}" for i in range(68)]

    def split(first, last, seed):
        labels = torch.arange(last - first).repeat(20)
        x = means[first:last][labels] + 0.05 * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(names[first:last]))

    frame = pd.DataFrame(traits.double().numpy(), index=names)
    model = openset.fit_exemplars(split(0, 60, 1), frame, seen=names[20:50])  # the others only teach
    assert model.classes == (*names[20:50], *names[60:])
    table = openset.zero_shot_table(model, split(20, 50, 2), split(60, 68, 3)).set_index(["setting", "measure"])
    assert table["value"]["unseen only", "unseen"] == 1.0
    assert table["value"]["all classes, calibrated", "harmonic mean"] > 0.9
    lies = frame.iloc[[*range(60), *range(61, 68), 60]].set_axis(names)  # each unseen class gets another's
    assert openset.fit_exemplars(split(0, 60, 1), lies).answers(split(60, 68, 3), among="unseen").accuracy < 0.2


def test_exemplars_choose_nothing_by_what_is_unseen(world):
    traits, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    replaced = traits.copy()
    replaced.iloc[SEEN:] = 1000 * np.random.default_rng(0).normal(size=(UNSEEN, TRAITS))
    one, other = (openset.fit_exemplars(train, table, seed=5) for table in (traits, replaced))
    assert (one.penalty, one.calibration) == (other.penalty, other.calibration)
    assert torch.equal(one.points[:SEEN], other.points[:SEEN])
    assert not torch.equal(one.points[SEEN:], other.points[SEEN:])


def test_what_is_held_out_takes_no_part_in_a_trial_of_exemplars(world):
    """Images that sit it out are moved far away: their own scores change, and what was learnt does not."""
    traits, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    x, t = train.images.double(), torch.tensor(traits.to_numpy(float))[:SEEN]
    seen = SEEN - 2  # the last two only teach
    for held, aside in openset.traits.deal(train.labels, seen, UNSEEN, seed=0):
        took_part = ~(aside | torch.isin(train.labels, held))
        changed = x.clone()
        changed[(~took_part).nonzero()[0]] += 1000
        one, other = (openset.exemplars._trial(z, train.labels, t, seen, held, aside) for z in (x, changed))
        assert torch.equal(one[0][1:], other[0][1:])
        assert not torch.equal(one[0][0], other[0][0])
        assert one[2] == seen - len(held)
        assert one[0].shape == (int((~took_part).sum()), seen)
        order = torch.tensor([c for c in range(seen) if c not in held] + held.tolist())
        assert torch.equal(order[one[1]], train.labels[~took_part])


def test_harmonic_mean_by_hand_and_its_interval_by_simulation():
    found = openset.harmonic_mean(Interval(0.8, 0.7, 0.9, 50), Interval(0.4, 0.3, 0.5, 40))
    assert found.value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert found.n == 90
    half = np.hypot(0.1 * 2 * (0.4 / 1.2) ** 2, 0.1 * 2 * (0.8 / 1.2) ** 2)  # the derivatives, times the half widths
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert openset.harmonic_mean(wilson(0, 20), wilson(0, 30)).value == 0
    rng, truth = np.random.default_rng(0), 2 * 0.8 * 0.3 / 1.1
    drawn = [(wilson(int(a), 200), wilson(int(b), 100)) for a, b in rng.binomial([200, 100], [0.8, 0.3], (600, 2))]
    covered = [(h := openset.harmonic_mean(*pair)).low <= truth <= h.high for pair in drawn]
    assert 0.93 < np.mean(covered) < 0.975


def test_wrong_traits_are_named(world):
    traits, split, _ = world
    train = split(range(SEEN), 5, 1.0, 1)
    with pytest.raises(ValueError, match="traits has no row of the seen class 'kind 0'"):
        openset.fit_zero_shot(train, traits[1:])
    for wrong in (traits[:SEEN], traits.where(traits < traits.to_numpy().max()), pd.concat([traits, traits[-1:]])):
        with pytest.raises(ValueError, match="expected at least 4 and 1, each once, without missing values"):
            openset.fit_zero_shot(train, wrong)
    with pytest.raises(ValueError, match="no trait differs among the 12 classes"):
        openset.fit_exemplars(train, traits * 0)
    with pytest.raises(ValueError, match="'yeti' has no images to learn from; choose among"):
        openset.fit_exemplars(train, traits, seen=["yeti"])
    with pytest.raises(ValueError, match="2 seen classes; take at least 4"):
        openset.fit_exemplars(train, traits, seen=NAMES[:2])
    model = openset.fit_zero_shot(train, traits)
    with pytest.raises(ValueError, match="choose 'all' or 'unseen'"):
        model.answers(train, among="known")
    with pytest.raises(ValueError, match="the split shows seen classes"):
        model.answers(train, among="unseen")
    with pytest.raises(ValueError, match="no traits of class 'yeti'"):
        model.answers(FeatureSplit(train.images[:1], torch.tensor([0]), ("yeti",)))


# ------------------------------------------------------------------ attributes on disk
def write_tables(folder, matrix, classes=("antelope", "grizzly+bear", "killer+whale")):
    (folder / "classes.txt").write_text("".join(f"{i:6d}\t{name}\n" for i, name in enumerate(classes, 1)))
    (folder / "predicates.txt").write_text("     1\tblack\n     2\tlong neck\n")
    (folder / "predicate-matrix-continuous.txt").write_text(matrix)


@pytest.mark.parametrize("place", ["inside", "beside", "beside an archive"])
def test_attributes_are_found_and_come_in_the_order_asked(tmp_path, place):
    write_tables(tmp_path, " 1.5  -1.00\n 20.25 3\n  0.00 5\n")
    images = tmp_path / ("JPEGImages.zip" if place == "beside an archive" else "JPEGImages")
    data = tmp_path if place == "inside" else images
    found = openset.read_traits(data, ["killer whale", "antelope", "grizzly+bear"])
    assert found.index.tolist() == ["killer whale", "antelope", "grizzly+bear"]
    assert found.columns.tolist() == ["black", "long neck"]
    assert found.to_numpy().tolist() == [[0.0, 5.0], [1.5, 4.0], [20.25, 3.0]]  # what is missing is the mean of 3 and 5


def test_attributes_that_cannot_be_had_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no predicate-matrix-continuous\.txt in .*beside it"):
        openset.read_traits(tmp_path / "photos", ["antelope"])
    write_tables(tmp_path, "1 2\n3 4\n5 6\n")
    with pytest.raises(ValueError, match="no attributes of yeti, unicorn in"):
        openset.read_traits(tmp_path, ["antelope", "yeti", "unicorn"])
    write_tables(tmp_path, "1 2\n3 4\n")
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but 3 classes and 2 attributes"):
        openset.read_traits(tmp_path, ["antelope"])
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"classes\.txt"):
        openset.read_traits(tmp_path, ["antelope"])


def test_vim_finds_a_residual_where_images_are_fewer_than_half_of_the_dimensions():
    train = torch.randn(20, 64, generator=draws())
    score = openset.vim(train, torch.randn(4, 64, generator=draws(1)))
    assert score(train).isfinite().all()
    far = openset.vim(train, torch.randn(4, 64, generator=draws(1)), dim=10)
    assert torch.equal(score(train), far(train))  # half of the images
