"""Figures of the course's own subjects: claims, mistakes, cost against accuracy, parts of generated animals."""

from course.plots.comparisons import controls, gains, ladder, mistakes
from course.plots.explanations import explanation_scores, gradient_rows, guided_grid
from course.plots.landscape import landscape
from course.plots.methods import method_gains
from course.plots.optimizers import optimizer_steps
from course.plots.parts import part_bars, part_maps
from course.plots.ranking import threshold_and_ranking
from course.plots.species import feature_space
from course.plots.speed import accuracy_against_seconds, learning_speed
from course.plots.verdicts import verdicts

__all__ = [
    "accuracy_against_seconds",
    "controls",
    "explanation_scores",
    "feature_space",
    "gains",
    "gradient_rows",
    "guided_grid",
    "ladder",
    "landscape",
    "learning_speed",
    "method_gains",
    "mistakes",
    "optimizer_steps",
    "part_bars",
    "part_maps",
    "threshold_and_ranking",
    "verdicts",
]
