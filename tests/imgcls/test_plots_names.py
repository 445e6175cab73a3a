"""Names of classes and files are drawn as they are: never as formulas, and in whatever scripts the fonts have."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from imgcls import plots
from imgcls.plots import theme

FORMULAS = ("$1_$5", "US$5_$10", "from $5 to $10", r"\frac{$x$}")
IMAGES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
LABELS = torch.arange(4)
SCORES = pd.DataFrame({"class": FORMULAS, "precision": 0.5, "recall": 0.6, "f1": 0.55, "support": 3})
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": [0.4, 0.5]}
)
DRAWN = {
    "confusion": lambda: plots.confusion(np.eye(4, dtype=int), FORMULAS),
    "per class": lambda: plots.per_class(SCORES),
    "axes made before": lambda: plots.per_class(SCORES, ax=Figure().subplots()),
    "counts": lambda: plots.class_counts(pd.DataFrame({"train": range(4)}, index=FORMULAS)),
    "sample grid": lambda: plots.sample_grid(IMAGES, LABELS, FORMULAS, per_class=1),
    "gallery": lambda: plots.gallery(IMAGES, FORMULAS),
    "predictions": lambda: plots.prediction_grid(IMAGES, LABELS, LABELS, torch.ones(4), FORMULAS),
    "overlays": lambda: plots.cam_grid(IMAGES, torch.ones(4, 8, 8), FORMULAS, columns=2),
    "curves": lambda: plots.learning_curves(dict.fromkeys(FORMULAS, HISTORY), {"$a_$": 0.5}),
}


@pytest.mark.parametrize("drawing", DRAWN)
def test_names_with_dollars_are_drawn_letter_by_letter(drawing):
    drawn = DRAWN[drawing]()
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    assert plots.display.render(figure)
    dollars = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert dollars
    assert not any(text.get_parse_math() for text in dollars)


def test_powers_of_ten_need_no_formula():
    table = pd.DataFrame({"lr": np.logspace(-5, 0, 20), "loss": 1.0, "smoothed": np.linspace(2, 1, 20)})
    ax = plots.lr_range(table, {"best": 0.01})
    plots.display.render(ax.figure)
    assert {"10⁻⁵", "10⁻²", "10⁰"} <= {label.get_text() for label in ax.get_xticklabels()}
    assert theme._power(0.3) == "0.3"


def test_a_line_break_in_a_name_stays_on_its_plate():
    assert theme.fit_text("a\nb\x1b[1m", 3)[0] == "a?b?[1m"


# ------------------------------------------------------------------ scripts
@pytest.fixture
def fresh(monkeypatch):
    """What is known of fonts, forgotten before and after."""
    known = (theme.families, theme.glyphs, theme._warn_missing)
    [one.cache_clear() for one in known]
    yield
    monkeypatch.undo()
    [one.cache_clear() for one in known]


def _said(*names):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name in names:
            plots.display.render(plots.gallery(IMAGES[:1], [name]))
            plots.display.render(plots.per_class(SCORES.assign(**{"class": name}).head(1)).figure)
    return [str(one.message) for one in said]


@pytest.mark.usefixtures("fresh")
def test_a_script_without_a_font_is_named_once(monkeypatch):
    monkeypatch.setattr(theme, "FALLBACKS", ())
    said = _said("बिल्ली", "猫犬", "猫", "🦊")
    assert [text.split()[4] for text in said] == ["Devanagari", "Chinese", "Emoji"]
    assert all("fonts.google.com/noto" in text for text in said)


@pytest.mark.usefixtures("fresh")
def test_scripts_of_dejavu_need_no_word(monkeypatch):
    monkeypatch.setattr(theme, "FALLBACKS", ())
    assert _said("Ωмяу قطة été 😀", "a\ufe0f\u200d") == []


@pytest.mark.usefixtures("fresh")
def test_an_installed_font_draws_the_script(tmp_path, monkeypatch):
    """A planted font with a full square for one Chinese character, two em wide."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 2000)), pen.lineTo((2000, 2000)), pen.lineTo((2000, 0)), pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({ord("猫"): "cat"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (2000, 0), "cat": (2000, 0)})
    font.setupHorizontalHeader(ascent=2000, descent=0)
    font.setupNameTable({"familyName": "Planted", "styleName": "Regular"})
    font.setupOS2(), font.setupPost()
    font.save(tmp_path / "planted.ttf")
    fonts = font_manager.fontManager.ttflist.copy()
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    font_manager.fontManager.addfont(tmp_path / "planted.ttf")
    monkeypatch.setattr(theme, "FALLBACKS", ("Absent", "Planted"))
    theme.families.cache_clear(), theme.glyphs.cache_clear()
    assert theme.families() == ["DejaVu Sans", "Planted"]
    assert theme.text_width("猫", size=10) == pytest.approx(2 * 10 / 72)  # inches
    assert _said("猫") == []
    assert "Chinese" in _said("犬")[0]
