"""Every figure of the course, from arrays and data frames, and the one way to show or save it.

Charts return their Axes when they have one panel and take `ax=None`; everything else returns a Figure. No figure is
registered with pyplot, so a notebook displays it only through `show`, which asks for a text alternative.
"""

from imgcls.plots.charts import (
    accuracy_against_seconds,
    class_counts,
    confusion,
    controls,
    gradient_norms,
    ladder,
    learning_curves,
    lr_curve,
    lr_range,
    mistakes,
    per_class,
    reliability,
    sizes,
)
from imgcls.plots.detection import detection_curves, score_histograms
from imgcls.plots.display import dark_twin, save, show
from imgcls.plots.explanations import explanation_scores, filter_sheets, gradient_rows, guided_grid, part_bars
from imgcls.plots.pictures import (
    augmentation_preview,
    cam_grid,
    duplicates,
    feature_sheets,
    filters,
    gallery,
    landscape,
    part_maps,
    picture_rows,
    prediction_grid,
    sample_grid,
)
from imgcls.plots.searches import (
    curves,
    importances,
    learning_speed,
    parallel_coordinates,
    predicted_shares,
    search_history,
)
from imgcls.plots.theme import DARK, LIGHT, SERIES, WIDTH
from imgcls.plots.trials import gains

__all__ = [
    "DARK",
    "LIGHT",
    "SERIES",
    "WIDTH",
    "accuracy_against_seconds",
    "augmentation_preview",
    "cam_grid",
    "class_counts",
    "confusion",
    "controls",
    "curves",
    "dark_twin",
    "detection_curves",
    "duplicates",
    "explanation_scores",
    "feature_sheets",
    "filter_sheets",
    "filters",
    "gains",
    "gallery",
    "gradient_norms",
    "gradient_rows",
    "guided_grid",
    "importances",
    "ladder",
    "landscape",
    "learning_curves",
    "learning_speed",
    "lr_curve",
    "lr_range",
    "mistakes",
    "parallel_coordinates",
    "part_bars",
    "part_maps",
    "per_class",
    "picture_rows",
    "predicted_shares",
    "prediction_grid",
    "reliability",
    "sample_grid",
    "save",
    "score_histograms",
    "search_history",
    "show",
    "sizes",
]
