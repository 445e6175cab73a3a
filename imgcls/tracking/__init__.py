"""Where the metrics of a training run go: `history.csv`, TensorBoard and other services."""

from imgcls.tracking.trackers import TRACKERS, TrackedRun, Tracker, read_tensorboard, start

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "read_tensorboard", "start"]
