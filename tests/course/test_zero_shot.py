"""Zero-shot learning against closed forms, and with no unseen class leaking into a choice."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial import distance
from sklearn.kernel_ridge import KernelRidge

from course import zero_shot
from imgcls.evaluation import FeatureSplit, Predictions
from imgcls.evaluation.statistics import Interval, wilson

SEEN, UNSEEN, ATTRIBUTES, DIM = 12, 4, 6, 24
NAMES = tuple(f"kind {i}" for i in range(SEEN + UNSEEN))


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    """Classes that are a linear image of their attributes: attributes, and features around class means."""
    rng = draws()
    attributes = torch.randn(SEEN + UNSEEN, ATTRIBUTES, generator=rng)
    means = attributes @ torch.randn(ATTRIBUTES, DIM, generator=rng)

    def split(classes, each, noise, seed):
        labels = torch.arange(len(classes)).repeat(each)
        x = means[list(classes)][labels] + noise * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(NAMES[c] for c in classes))

    return pd.DataFrame(attributes.double().numpy(), index=list(NAMES)), split, means


def test_eszsl_against_the_published_closed_form():
    rng = np.random.default_rng(0)
    n, d, z, a = 30, 5, 4, 3
    x, s, y = rng.normal(size=(d, n)), rng.normal(size=(a, z)), rng.integers(0, z, n)  # the paper's orientation
    target = np.full((n, z), -1.0)
    for i in range(n):
        target[i, y[i]] = 1
    gamma, lam = 0.7, 0.2
    v = np.linalg.inv(x @ x.T + gamma * np.eye(d)) @ x @ target @ s.T @ np.linalg.inv(s @ s.T + lam * np.eye(a))
    found = zero_shot.eszsl(torch.from_numpy(x.T), torch.from_numpy(y), torch.from_numpy(s.T), gamma, lam)
    assert np.allclose(found, v, rtol=1e-9)
    with pytest.raises(ValueError, match="gamma = 0 and lam = 1 must be above 0"):
        zero_shot.eszsl(torch.from_numpy(x.T), torch.from_numpy(y), torch.from_numpy(s.T), 0, 1)


def test_attributes_that_predict_the_classes_exactly_find_every_unseen_image():
    """Features are a linear image of ten attributes, and 40 seen classes are enough to learn all ten."""
    rng = draws()
    attributes = torch.randn(45, 10, generator=rng).sign().unique(dim=0)
    attributes = attributes[torch.randperm(len(attributes), generator=rng)]
    names = [f"kind {i}" for i in range(len(attributes))]
    means = attributes @ torch.randn(10, DIM, generator=rng)

    def split(first, last, seed):
        labels = torch.arange(last - first).repeat(10)
        x = means[first:last][labels] + 0.01 * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(names[first:last]))

    frame = pd.DataFrame(attributes.numpy(), index=names)
    model = zero_shot.fit_zero_shot(split(0, 40, 1), frame)
    seen, unseen = split(0, 40, 2), split(40, len(attributes), 3)
    table = zero_shot.zero_shot_table(model, seen, unseen).set_index(["setting", "measure"])["value"]
    assert table["unknown only", "unknown"] == 1.0
    assert table["all classes, calibrated", "harmonic mean"] > 0.95
    lies = frame.iloc[[*range(40), *range(41, len(attributes)), 40]].set_axis(names)  # each unseen class gets another's
    assert zero_shot.fit_zero_shot(split(0, 40, 1), lies).predict(unseen, among="unseen").accuracy == 0.0


def test_features_predict_the_attributes_they_depend_on_and_no_others():
    """Noise cannot be predicted for held-out classes; a linear attribute can, and a constant one has no R²."""
    rng = draws()
    shown, hidden = torch.randn(2, 60, 3, generator=rng)
    names = [f"kind {i}" for i in range(60)]
    labels = torch.arange(60).repeat_interleave(4)
    x = (shown @ torch.randn(3, DIM, generator=rng))[labels] + 0.1 * torch.randn(240, DIM, generator=rng)
    frame = pd.DataFrame(torch.cat([shown, hidden, torch.ones(60, 1)], dim=1).numpy(), names, list("abcdefg"))
    order = torch.randperm(240, generator=rng)
    train = FeatureSplit(x[order], labels[order], tuple(names))
    found = zero_shot.predictability(train, pd.concat([frame, frame.iloc[:3].set_axis(["x", "y", "z"])]))
    assert found[["a", "b", "c"]].min() > 0.6
    assert found[["d", "e", "f"]].max() < 0.1
    assert found["g"] == -np.inf
    mixed = FeatureSplit(x[order], labels[order], tuple(names[i] for i in torch.randperm(60, generator=rng)))
    assert zero_shot.predictability(mixed, frame)[["a", "b", "c"]].max() < 0.1  # another class's attributes
    with pytest.raises(ValueError, match="60 classes in 40 folds; take at most 30"):
        zero_shot.predictability(train, frame, folds=40)


def test_scores_and_weights_are_those_of_the_closed_form(world):
    attributes, split, _ = world
    train, test = split(range(SEEN), 20, 2.0, 1), split(range(SEEN), 5, 2.0, 2)
    model = zero_shot.fit_zero_shot(train, attributes)
    x, t = train.images.double(), torch.tensor(attributes.to_numpy(float))
    centre, scale = x.mean(0), (x - x.mean(0)).square().mean().sqrt()
    t = (t - t[:SEEN].mean(0)) / t[:SEEN].std(0, correction=0)
    t = t / t.norm(dim=1, keepdim=True)
    weights = zero_shot.eszsl((x - centre) / scale, train.labels, t[:SEEN], model.fitted["gamma"], model.fitted["lam"])
    expected = (test.images.double() - centre) / scale @ weights @ t.T
    assert torch.allclose(model.scores(test.images), expected, rtol=1e-6)
    assert model.fitted["gamma"] in [len(x) * g for g in zero_shot.ESZSL_PENALTIES]
    assert model.fitted["lam"] in [SEEN * g for g in zero_shot.ESZSL_PENALTIES]
    assert len(model.fitted["trials"]) == len(zero_shot.ESZSL_PENALTIES) ** 2


def test_penalties_and_calibration_do_not_see_what_is_unseen(world):
    """Other attributes of the unseen classes, the only thing of theirs that goes in, change nothing that was chosen."""
    attributes, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    model = zero_shot.fit_zero_shot(train, attributes, seed=5)
    replaced = attributes.copy()
    replaced.iloc[SEEN:] = 1000 * np.random.default_rng(0).normal(size=(UNSEEN, ATTRIBUTES))
    other = zero_shot.fit_zero_shot(train, replaced, seed=5)
    assert torch.equal(model.fitted["weights"], other.fitted["weights"])
    assert all(model.fitted[name] == other.fitted[name] for name in ("gamma", "lam"))
    assert model.calibration == other.calibration
    assert torch.equal(model.fitted["attributes"][:SEEN], other.fitted["attributes"][:SEEN])
    assert model.fitted["trials"].equals(other.fitted["trials"])
    assert not torch.equal(model.fitted["attributes"][SEEN:], other.fitted["attributes"][SEEN:])


def test_held_out_classes_and_images_take_no_part_in_their_trial(world):
    attributes, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    x, t = train.images.double(), torch.tensor(attributes.to_numpy(float))[:SEEN]
    folds = zero_shot.make_folds(train.labels, SEEN, UNSEEN, seed=0)
    assert sorted(torch.cat([held for held, _ in folds]).tolist()) == list(range(SEEN))
    assert [len(held) for held, _ in folds] == [3, 3, 3, 3]  # as 4 unseen are to 16 classes
    for held, aside in folds:
        assert train.labels[aside].bincount().tolist() == [4] * SEEN
        took_part = ~(aside | torch.isin(train.labels, held))
        changed = torch.where(took_part[:, None], x, x + 1000)
        one, other = (
            next(zero_shot.eszsl_trials(z, train.labels, t, (held, aside), (1.0,), (1.0,)))[2] for z in (x, changed)
        )
        shift = (other[0] - one[0]) - (other[0] - one[0])[:1]
        assert shift.abs().max() < 1e-6 * (other[0] - one[0]).abs().max()  # the same solution, on moved images
        assert len(one[0]) == int((~took_part).sum())
        assert one[2] == SEEN - len(held)
        rest = [c for c in range(SEEN) if c not in held]
        order = torch.tensor([*rest, *held.tolist()])
        assert torch.equal(order[one[1]], train.labels[~took_part])


def test_calibrated_stacking_at_its_extremes(world):
    attributes, split, _ = world
    model = zero_shot.fit_zero_shot(split(range(SEEN), 20, 3.0, 1), attributes)
    seen, unseen = split(range(SEEN), 10, 3.0, 2), split(range(SEEN, SEEN + UNSEEN), 25, 3.0, 3)
    table = zero_shot.zero_shot_table(model, seen, unseen).set_index(["setting", "measure"])["value"]
    curve = zero_shot.stacking_curve(model, seen, unseen)
    plain = model.scores(unseen.images).argmax(1) == unseen.labels + SEEN
    assert table["all classes", "unknown"] == pytest.approx(plain.double().mean().item())  # 0 leaves the scores alone
    last, first = curve.iloc[-1], curve.iloc[0]
    assert (last["calibration"], last["seen"]) == (np.inf, 0.0)
    assert last["unseen"] == pytest.approx(table["unknown only", "unknown"])  # only unseen classes are left
    assert (first["unseen"], first["harmonic"]) == (0.0, 0.0)
    closed = model.scores(seen.images)[:, :SEEN].argmax(1) == seen.labels
    assert first["seen"] == pytest.approx(closed.double().mean().item())
    assert curve["seen"].is_monotonic_decreasing
    assert curve["unseen"].is_monotonic_increasing
    assert 0 < curve["area"][0] < first["seen"] * last["unseen"] + 1e-12
    infinite = model.predict(unseen, calibration=float("inf"))
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
    assert harmonic(zero_shot.choose_calibration([trial]) - 1e-9) == pytest.approx(best, abs=0.01)
    assert harmonic(0.0) < best - 0.1


def test_attributes_are_standardised_by_the_seen_classes_and_what_none_varies_is_left_out():
    attributes = torch.tensor([[1.0, 7.0, 2.0], [3.0, 7.0, 4.0], [5.0, 7.0, 0.0], [9.0, 8.0, 2.0]]).double()
    first, last = (attributes[:, 0] - 3) / np.sqrt(8 / 3), (attributes[:, 2] - 2) / np.sqrt(8 / 3)
    length = (first**2 + last**2).sqrt()
    expected = torch.stack([first / length, torch.zeros(4), last / length], 1)
    assert torch.allclose(zero_shot.unit_scores(attributes, 3), expected)


def test_exemplars_are_those_of_a_kernel_ridge_and_its_penalty_predicts_left_out_classes_best(world):
    attributes, split, _ = world
    train = split(range(SEEN), 30, 2.0, 1)
    model = zero_shot.fit_exemplars(train, attributes)
    x, y, t = train.images.double().numpy(), train.labels.numpy(), attributes.to_numpy(float)
    means = np.stack([x[y == c].mean(0) for c in range(SEEN)])
    t = (t - t[:SEEN].mean(0)) / t[:SEEN].std(0)
    squares = distance.squareform(distance.pdist(t, "sqeuclidean"))
    kernel = np.exp(-squares / np.median(distance.pdist(t[:SEEN], "sqeuclidean")))
    centre, everyone = means.mean(0), np.arange(SEEN)

    def predicted(learn, target, penalty):
        ridge = KernelRidge(alpha=penalty, kernel="precomputed").fit(
            kernel[np.ix_(learn, learn)], (means - centre)[learn]
        )
        return centre + ridge.predict(kernel[np.ix_(target, learn)])

    errors = {}
    for penalty in zero_shot.KERNEL_PENALTIES:
        off = [predicted(np.delete(everyone, c), [c], penalty)[0] - means[c] for c in everyone]
        errors[penalty] = np.square(off).sum()
    assert model.fitted["penalty"] == min(errors, key=errors.get)
    unseen = predicted(everyone, np.arange(SEEN, SEEN + UNSEEN), model.fitted["penalty"])
    test = split(range(SEEN, SEEN + UNSEEN), 3, 2.0, 2).images
    expected = -distance.cdist(test.double().numpy(), np.concatenate([means, unseen]), "sqeuclidean")
    assert np.allclose(model.scores(test), expected, rtol=1e-6)


def test_exemplars_name_what_no_image_showed_and_nothing_when_the_attributes_lie():
    rng = draws()
    attributes = torch.rand(68, 3, generator=rng)
    means = torch.cat([attributes, attributes.square()], dim=1) @ torch.randn(6, DIM, generator=rng)  # not linear
    names = [f"kind {i}" for i in range(68)]

    def split(first, last, seed):
        labels = torch.arange(last - first).repeat(20)
        x = means[first:last][labels] + 0.05 * torch.randn(len(labels), DIM, generator=draws(seed))
        return FeatureSplit(x, labels, tuple(names[first:last]))

    frame = pd.DataFrame(attributes.double().numpy(), index=names)
    model = zero_shot.fit_exemplars(split(0, 60, 1), frame, seen=names[20:50])  # the others only teach
    assert model.classes == (*names[20:50], *names[60:])
    table = zero_shot.zero_shot_table(model, split(20, 50, 2), split(60, 68, 3)).set_index(["setting", "measure"])
    assert table["value"]["unknown only", "unknown"] == 1.0
    assert table["value"]["all classes, calibrated", "harmonic mean"] > 0.9
    lies = frame.iloc[[*range(60), *range(61, 68), 60]].set_axis(names)  # each unseen class gets another's
    assert zero_shot.fit_exemplars(split(0, 60, 1), lies).predict(split(60, 68, 3), among="unseen").accuracy < 0.2


def test_the_text_ranks_two_ways_and_counts_species_that_are_never_named():
    labels = torch.arange(3).repeat_interleave(20)

    def predictions(predicted):
        return Predictions(torch.eye(3)[predicted], labels, ("a", "b", "c"))

    right, shifted = predictions(labels), predictions(labels.clamp(max=1))
    assert zero_shot.never_named(right) == []
    assert zero_shot.never_named(shifted) == ["c"]
    text = zero_shot.zero_shot_text(shifted, right)
    assert text.startswith(f"From attributes alone, exemplars name {shifted.balanced_accuracy} of the images")
    assert f"ESZSL {right.balanced_accuracy}: exemplars are worse than ESZSL (-33.3 points [" in text
    assert text.endswith("no image is named correctly: 1 of 3 by exemplars, 0 of 3 by ESZSL.")
    assert "exemplars are better than ESZSL (+33.3" in zero_shot.zero_shot_text(right, shifted)
    assert "the difference between exemplars and ESZSL is inconclusive" in zero_shot.zero_shot_text(right, right)


def test_exemplars_choose_nothing_by_what_is_unseen(world):
    attributes, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    replaced = attributes.copy()
    replaced.iloc[SEEN:] = 1000 * np.random.default_rng(0).normal(size=(UNSEEN, ATTRIBUTES))
    one, other = (zero_shot.fit_exemplars(train, table, seed=5) for table in (attributes, replaced))
    assert (one.fitted["penalty"], one.calibration) == (other.fitted["penalty"], other.calibration)
    assert torch.equal(one.fitted["points"][:SEEN], other.fitted["points"][:SEEN])
    assert not torch.equal(one.fitted["points"][SEEN:], other.fitted["points"][SEEN:])


def test_what_is_held_out_takes_no_part_in_a_trial_of_exemplars(world):
    """Images that sit it out are moved far away: their own scores change, and what was learnt does not."""
    attributes, split, _ = world
    train = split(range(SEEN), 20, 3.0, 1)
    x, t = train.images.double(), torch.tensor(attributes.to_numpy(float))[:SEEN]
    seen = SEEN - 2  # the last two only teach
    for held, aside in zero_shot.make_folds(train.labels, seen, UNSEEN, seed=0):
        took_part = ~(aside | torch.isin(train.labels, held))
        changed = x.clone()
        changed[(~took_part).nonzero()[0]] += 1000
        one, other = (zero_shot.exemplar_trial(z, train.labels, t, seen, (held, aside)) for z in (x, changed))
        assert torch.equal(one[0][1:], other[0][1:])
        assert not torch.equal(one[0][0], other[0][0])
        assert one[2] == seen - len(held)
        assert one[0].shape == (int((~took_part).sum()), seen)
        order = torch.tensor([c for c in range(seen) if c not in held] + held.tolist())
        assert torch.equal(order[one[1]], train.labels[~took_part])


def test_harmonic_mean_by_hand_and_its_interval_by_simulation():
    found = zero_shot.harmonic_mean(Interval(0.8, 0.7, 0.9, 50), Interval(0.4, 0.3, 0.5, 40))
    assert found.value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert found.n == 90
    half = np.hypot(0.1 * 2 * (0.4 / 1.2) ** 2, 0.1 * 2 * (0.8 / 1.2) ** 2)  # the derivatives, times the half widths
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert zero_shot.harmonic_mean(wilson(0, 20), wilson(0, 30)).value == 0
    rng, truth = np.random.default_rng(0), 2 * 0.8 * 0.3 / 1.1
    drawn = [(wilson(int(a), 200), wilson(int(b), 100)) for a, b in rng.binomial([200, 100], [0.8, 0.3], (600, 2))]
    covered = [(h := zero_shot.harmonic_mean(*pair)).low <= truth <= h.high for pair in drawn]
    assert 0.93 < np.mean(covered) < 0.975


def test_wrong_attributes_are_named(world):
    attributes, split, _ = world
    train = split(range(SEEN), 5, 1.0, 1)
    with pytest.raises(ValueError, match="attributes has no row of the seen class 'kind 0'"):
        zero_shot.fit_zero_shot(train, attributes[1:])
    for wrong in (
        attributes[:SEEN],
        attributes.where(attributes < attributes.to_numpy().max()),
        pd.concat([attributes, attributes[-1:]]),
    ):
        with pytest.raises(ValueError, match="expected at least 4 and 1, each once, without missing values"):
            zero_shot.fit_zero_shot(train, wrong)
    with pytest.raises(ValueError, match="no attribute differs among the 12 classes"):
        zero_shot.fit_exemplars(train, attributes * 0)
    for wrong in ([*NAMES[:4], "yeti"], NAMES[:2]):
        with pytest.raises(ValueError, match=f"'{wrong[-1]}'.; choose at least 4 of the classes with images: kind 0, "):
            zero_shot.fit_exemplars(train, attributes, seen=wrong)
    model = zero_shot.fit_zero_shot(train, attributes)
    with pytest.raises(ValueError, match="choose 'all' or 'unseen'"):
        model.predict(train, among="known")
    with pytest.raises(ValueError, match="the split has images of seen classes"):
        model.predict(train, among="unseen")
    with pytest.raises(ValueError, match="no attributes of class 'yeti'"):
        model.predict(FeatureSplit(train.images[:1], torch.tensor([0]), ("yeti",)))


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
    found = zero_shot.read_attributes(data, ["killer whale", "antelope", "grizzly+bear"])
    assert found.index.tolist() == ["killer whale", "antelope", "grizzly+bear"]
    assert found.columns.tolist() == ["black", "long neck"]
    assert found.to_numpy().tolist() == [[0.0, 5.0], [1.5, 4.0], [20.25, 3.0]]  # what is missing is the mean of 3 and 5


def test_attributes_that_cannot_be_had_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no predicate-matrix-continuous\.txt in .*beside it"):
        zero_shot.read_attributes(tmp_path / "photos", ["antelope"])
    write_tables(tmp_path, "1 2\n3 4\n5 6\n")
    with pytest.raises(ValueError, match="no attributes of yeti, unicorn in"):
        zero_shot.read_attributes(tmp_path, ["antelope", "yeti", "unicorn"])
    write_tables(tmp_path, "1 2\n3 4\n")
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but beside it are 3 classes and 2 attributes"):
        zero_shot.read_attributes(tmp_path, ["antelope"])
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"classes\.txt"):
        zero_shot.read_attributes(tmp_path, ["antelope"])
