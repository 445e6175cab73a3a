"""What a person follows a training run by: the trackers that keep its rows, and the progress line."""

from imgcls.tracking.trackers import TRACKERS, TensorBoard, Tracker, read_tensorboard, start

__all__ = ["TRACKERS", "TensorBoard", "Tracker", "read_tensorboard", "start"]
