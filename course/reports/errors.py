"""What can go wrong with a report; in a file of its own, so that catching these loads nothing else."""


class RequestError(ValueError):
    """A request that cannot be run; nothing was changed."""


class ReportError(RuntimeError):
    """A notebook was run or rendered without a report as the result; `NAME.failed.html` gives the reason."""
