"""Learning-rate schedules as functions of the progress of a run."""

import math

SCHEDULES = ("constant", "exponential", "cosine", "one_cycle", "plateau")
WARMUP_START = 1 / 25  # share of the peak at which "one_cycle" starts, as in torch.optim.lr_scheduler.OneCycleLR


def learning_rate(
    schedule: str, peak: float, progress: float, epochs: int, *, warmup_fraction: float, gamma: float
) -> float:
    """Learning rate after a share `progress` in [0, 1] of the steps; `fit` lowers that of "plateau" itself.

    Args:
        schedule: One of SCHEDULES.
        peak: The largest learning rate.
        progress: Share of all steps that are done.
        epochs: Of the whole run.
        warmup_fraction: Share of the run in which "one_cycle" rises to the peak.
        gamma: Factor of the learning rate after each epoch of "exponential".
    """
    if schedule == "one_cycle":  # linear up, linear down to zero; from zero, the first step would be wasted
        rising = WARMUP_START + (1 - WARMUP_START) * progress / warmup_fraction
        return peak * max(0.0, min(rising, (1 - progress) / (1 - warmup_fraction)))
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "exponential":
        return peak * gamma ** math.floor(progress * epochs)
    return peak
