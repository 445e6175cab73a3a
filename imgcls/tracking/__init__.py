"""Tracking of the metrics of a training run: `history.csv`, TensorBoard and other services."""

from imgcls.tracking.trackers import TRACKERS, TrackedRun, Tracker, start

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "start"]
