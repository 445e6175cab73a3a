"""What must hold for every input, tried on inputs that nobody chose."""

import json
import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course.reports import Result
from course.reports.result import show, validate
from imgcls import transforms as T
from imgcls.data import DataError, decoding
from imgcls.data.sources import Member, SkippedFile, Source, as_text, find_class_folders
from imgcls.data.splits import divide, parse_names, select_classes, stratified_sample
from imgcls.evaluation.statistics import mcnemar, over_seeds, wilson

hypothesis = pytest.importorskip("hypothesis", reason="make env brings hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("quick")

WORDS = st.text(st.characters(exclude_characters="/\\.", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
SHARES = st.sampled_from([0.05, 0.1, 0.15, 0.2, 0.33, 0.45])
TRANSFORMS = (
    T.RandomCrop(2), T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(20),
    T.RandomResizedCrop(), T.ColorJitter(0.3, 0.3, 0.3, 0.1), T.TrivialAugment(),
)  # fmt: skip


# ------------------------------------------------------------------ splits


@st.composite
def named_sets(draw):
    """Names of files in class folders, with or without given splits, at least two of each class to train on."""
    classes = draw(st.lists(WORDS, min_size=2, max_size=4, unique_by=str.lower))
    given_parts = draw(st.sampled_from([(), ("train", "test"), ("train", "val"), ("Train", "valid", "TEST")]))
    names = []
    for name in classes:
        for part in given_parts or ("",):
            count = draw(st.integers(2, 12))
            names += [f"{part}/{name}/{i}.png".lstrip("/") for i in range(count)]
    return tuple(draw(st.permutations(names))), tuple(sorted(classes))


@given(named_sets(), st.integers(0, 5), SHARES, SHARES)
def test_splits_share_no_file_lose_none_and_do_not_depend_on_the_order(named, seed, val, test):
    names, classes = named

    def divided(order):
        groups = divide(order, classes, seed, val, test, "x")
        return {part: {c: {order[i] for i in rows} for c, rows in group.items()} for part, group in groups.items()}

    parts = divided(names)
    everything = [name for group in parts.values() for rows in group.values() for name in rows]
    assert sorted(everything) == sorted(names)
    assert all(f"/{c}/" in f"/{name}" for group in parts.values() for c, rows in group.items() for name in rows)
    assert all(parts["train"][c] for c in classes)
    given_test = {name for name in names if name.lower().startswith("test/")}
    if given_test:
        assert {name for rows in parts["test"].values() for name in rows} == given_test
    assert divided(tuple(reversed(names))) == parts
    more = divided((*names, names[0].rpartition("/")[0] + "/one-more.png"))
    for c in set(classes) - {parse_names(names)[1][0]}:  # what is added to a class moves no file of another
        assert {part: groups[c] for part, groups in more.items()} == {part: groups[c] for part, groups in parts.items()}


@given(st.dictionaries(WORDS, st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 60))
def test_a_cap_is_exact_proportional_and_leaves_nobody_out(sizes, count):
    group = {name: list(range(size)) for name, size in sizes.items()}
    present, total = sum(size > 0 for size in sizes.values()), sum(sizes.values())
    if count < min(present, total):
        with pytest.raises(DataError, match=rf"train_count={count} \(--max-train-images\) is fewer"):
            stratified_sample(group, count, "train")
        return
    kept = stratified_sample(group, count, "train")
    assert sum(map(len, kept.values())) == min(count, total)
    for name, size in sizes.items():
        assert kept[name] == group[name][: len(kept[name])]  # so a larger cap holds a smaller one
        assert len(kept[name]) >= (size > 0)
        share = Fraction(size * min(count, total), max(1, total))
        assert len(kept[name]) <= max(1, math.ceil(share))


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=8, unique=True))
def test_every_file_is_kept_or_left_out_whatever_the_names(names):
    tidy = [as_text("/".join(part for part in name.split("/") if part not in ("", ".", ".."))) for name in names]
    tidy = sorted({f"cat/{name}" for name in tidy if name} | {"cat/1.png", "dog/1.png", "dog/deep/notes", "loose.png"})
    members = tuple(Member(name, 1, k, None) for k, name in enumerate(tidy))
    source = Source(Path("here"), members, (SkippedFile("cat/x.png", "zero bytes"),))
    check_arranged(*find_class_folders(source)[:2], tidy)


def check_arranged(kept, out, tidy):
    assert sorted([member.name for _, member in kept] + [entry.name for entry in out]) == sorted(tidy)
    assert {name.count("/") for name, _ in kept} in ({1}, {2})


@given(st.text(max_size=20))
def test_a_name_as_text_can_be_printed_stored_and_named_again(name):
    raw = name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    shown = as_text(raw)
    assert json.loads(json.dumps(shown)) == shown
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert not {letter for letter in shown if ord(letter) < 32 or 0x202A <= ord(letter) <= 0x202E}
    assert as_text(shown) == shown


@given(st.lists(WORDS, min_size=1, max_size=5, unique=True), WORDS)
def test_a_class_is_found_or_named_with_the_choices(known, asked):
    known = tuple(sorted(known))
    if asked in known:
        assert select_classes([asked], known, "here") == (asked,)
    else:
        with pytest.raises(DataError, match="has no class"):
            select_classes([asked], known, "here")


# ------------------------------------------------------------------ decoding


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM"])
)
def test_any_bytes_are_a_picture_or_a_reason(data, head):
    answer = decoding.try_decode_square(head + data, 8, 3, "crop")
    if isinstance(answer, str):
        assert answer
        assert "\n" not in answer
    else:
        assert len(answer[0]) == 8 * 8 * 3


# ------------------------------------------------------------------ transforms


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda one: type(one).__name__)
@settings(max_examples=6)
@given(size=st.tuples(st.integers(8, 14), st.integers(8, 14)), n=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_transform_keeps_shape_type_range_and_its_draws(transform, size, n, seed):
    images = torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    before = images.clone()
    once, again = (transform(images, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(images, before)  # never in place
    assert (once.shape, once.dtype) == (images.shape, images.dtype)
    floats = transform(images / 255, torch.Generator().manual_seed(seed))
    assert floats.dtype == torch.float32
    assert floats.min() >= 0
    assert floats.max() <= 1 + 1e-6
    parameters = transform.draw(n, *size, torch.Generator().manual_seed(seed))
    assert all(len(values) == n for values in parameters.values())
    alone = transform.apply(images[-1:], {name: values[-1:] for name, values in parameters.items()})
    assert (alone.int() - once[-1:].int()).abs().max() <= 1  # resampling vectorises over the batch


@given(st.integers(1, 3), st.integers(0, 99))
def test_two_flips_are_none(n, seed):
    images = torch.randint(0, 256, (n, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    for flip in (T.RandomHorizontalFlip(p=1.0), T.RandomVerticalFlip(p=1.0)):
        draws = torch.Generator()
        assert torch.equal(flip(flip(images, draws), draws), images)


# ------------------------------------------------------------------ intervals

TRIALS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(TRIALS)
def test_a_wilson_interval_holds_its_value_stays_a_share_and_mirrors(trial):
    correct, n = trial
    one, mirror = wilson(correct, n), wilson(n - correct, n)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((one.low, one.high), abs=1e-9)
    wider = wilson(correct, n, confidence=0.99)
    assert wider.low <= one.low + 1e-12
    assert wider.high >= one.high - 1e-12
    assert wilson(10 * correct, 10 * n).high - wilson(10 * correct, 10 * n).low < one.high - one.low


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_paired_test_turns_its_sign_with_its_sides(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = mcnemar(a, b), mcnemar(b, a)
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p_value == back.p_value
    assert 0 <= there.p_value <= 1
    assert there.difference == pytest.approx((sum(b) - sum(a)) / len(a))
    assert mcnemar(a, a).p_value == 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-1, 1))
def test_an_interval_over_seeds_moves_with_its_values(values, shift):
    one, moved = over_seeds(values), over_seeds([value + shift for value in values])
    assert one.low <= one.value <= one.high
    assert (moved.low, moved.high) == pytest.approx((one.low + shift, one.high + shift), abs=1e-9)
    assert one.value == pytest.approx(float(np.mean(values)))


# ------------------------------------------------------------------ result files

NUMBERS = st.floats(-1e9, 1e9)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def result(answer):
    torn = SimpleNamespace(name="bad\x1b.jpg", reason="<b>torn</b>")
    data = SimpleNamespace(name="shapes", kind="generated", fingerprint="f", classes=("a", "b"), train=[0] * 8, val=[],
                           test=[0] * 4, skipped=[torn])  # fmt: skip
    environment = dict.fromkeys(("python", "torch", "device", "threads", "precision", "commit", "dirty"))
    one = Result("05_good", "Does it work?", data, environment=environment)
    one.content["answer"] = answer
    return one


@given(st.lists(st.tuples(TEXTS, TEXTS, NUMBERS, st.floats(0, 10), st.integers(1, 10**6)), max_size=4), TEXTS)
def test_a_result_with_any_words_and_numbers_survives_its_file(rows, words):
    one = result(f"So: {words}")
    for metric, model, value, half, n in rows:
        one.headline(metric, model, SimpleNamespace(value=value, low=value - half, high=value + half, n=n))
    one.content["finished"] = "now"
    one.content["seconds"] = 1.0
    content = json.loads(json.dumps(one.content, ensure_ascii=False, allow_nan=False).encode())
    assert validate(content, "05_good") == []
    for row, (metric, _, value, _, n) in zip(content["headline"], rows, strict=True):
        assert (row["metric"], row["value"], row["n"]) == (metric, value, n)
    for key in content:  # whatever is missing is named
        assert any(key in problem for problem in validate({k: v for k, v in content.items() if k != key}))


@given(
    st.one_of(NUMBERS, st.integers(-(10**12), 10**12), TEXTS, st.none(), st.booleans()),
    st.sampled_from([None, "", "s"]),
)
def test_a_shown_number_reads_back_as_itself(value, unit):
    text = show(value, unit)
    assert isinstance(text, str)
    if isinstance(value, float):
        number = text.removesuffix(" s").replace(",", "")
        back = float(number.removesuffix(" %")) / (100 if number.endswith(" %") else 1)
        assert back == pytest.approx(value, rel=1e-3, abs=0.06 if abs(value) >= 100 else 6e-4)


@given(st.recursive(st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner, max_size=3) |
                    st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8))  # fmt: skip
def test_anything_else_that_is_json_is_refused_in_words(content):
    problems = validate(content)
    assert problems
    assert all(isinstance(problem, str) for problem in problems)
