"""Figures for any data set, drawn from arrays and data frames, and the functions that show or save them.

Charts with one panel take `ax=None` and return their Axes; all others return a Figure. No figure is registered with
pyplot, so a notebook displays it only through `show`, which requires a text alternative.
"""

from imgcls.plots.confusion import confusion, per_class
from imgcls.plots.curves import curves, gradient_norms, learning_curves, lr_range
from imgcls.plots.data import class_counts, sizes
from imgcls.plots.detection import detection_curves, score_histograms
from imgcls.plots.display import dark_twin, save, show
from imgcls.plots.explanations import cam_grid, feature_sheets, filter_sheets, filters
from imgcls.plots.images import augmentation_preview, gallery, picture_rows, prediction_grid, sample_grid
from imgcls.plots.parallel import parallel_coordinates
from imgcls.plots.reliability import reliability
from imgcls.plots.searches import importances, search_history
from imgcls.plots.theme import DARK, LIGHT, SERIES, WIDTH

__all__ = [
    "DARK",
    "LIGHT",
    "SERIES",
    "WIDTH",
    "augmentation_preview",
    "cam_grid",
    "class_counts",
    "confusion",
    "curves",
    "dark_twin",
    "detection_curves",
    "feature_sheets",
    "filter_sheets",
    "filters",
    "gallery",
    "gradient_norms",
    "importances",
    "learning_curves",
    "lr_range",
    "parallel_coordinates",
    "per_class",
    "picture_rows",
    "prediction_grid",
    "reliability",
    "sample_grid",
    "save",
    "score_histograms",
    "search_history",
    "show",
    "sizes",
]
