import pytest

from imgcls.messages import did_you_mean, format_duration, normal_form, plural, some


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (9.96, "10 s"),
        (20, "20 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (187, "3 min 7 s"),
        (300, "5 min"),
        (3600, "1 h"),
        (3765, "1 h 2 min"),
        (90_000, "25 h"),
    ],
)
def test_a_duration_is_no_finer_than_a_reader_needs(seconds, text):
    assert format_duration(seconds) == text


def test_the_closest_choices_are_suggested():
    assert did_you_mean("wandbb", ("tensorboard", "wandb")) == "did you mean 'wandb'?"
    assert did_you_mean("ADAM", ("adam", "adamw")) == "did you mean 'adam' or 'adamw'?"
    assert did_you_mean("x", range(3)) == "choose from 0, 1, 2"


def test_a_long_list_of_choices_is_cut():
    text = did_you_mean("x", range(100))
    assert text.startswith("choose from 0, 1, 2, ")
    assert text.endswith("19, …")


def test_lists_are_shortened_and_nouns_get_a_plural():
    assert some(["a", "b"], shown=2) == "a, b"
    assert some(["a", "b", "c", "d"], shown=2) == "a, b and 2 more"
    assert [plural(count, "file") for count in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
    assert [plural(count, noun) for noun in ("class", "epoch") for count in (1, 2)] == [
        "1 class", "2 classes", "1 epoch", "2 epochs",
    ]  # fmt: skip


def test_names_that_differ_in_form_only_have_one_normal_form():
    assert len({normal_form(name) for name in ("Bl\u00e9_rouge", "ble\u0301 Rouge ", " BL\u00c9-ROUGE")}) == 1
    assert normal_form("cat") != normal_form("cats")
