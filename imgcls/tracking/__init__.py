"""What a person follows a training run by: the trackers that keep its rows, and the progress line."""

from imgcls.tracking.progress import Progress, clock
from imgcls.tracking.trackers import TRACKERS, TensorBoard, Tracker, read_tensorboard, start

__all__ = ["TRACKERS", "Progress", "TensorBoard", "Tracker", "clock", "read_tensorboard", "start"]
