"""Three plausible wrong answers to each exercise of notebook 00."""

_LOSS = """
def mean_cross_entropy(scores, truth):
    {body}


uniform_loss = {uniform}
"""
_STEPS = """
def three_steps(weight, pixels, target, rate):
    weight = weight.clone().requires_grad_()
    for _ in range(3):
        {before}
        error = ((weight * pixels).sum() - target) ** 2
        error.backward()
        with torch.no_grad():
            weight {sign}= rate * weight.grad
        {after}
    return weight.detach()
"""

WRONG = {
    "convolution": [
        # The kernel turned over, as convolution is defined in mathematics.
        "top_left = (1 + 2 + 3) - (7 + 8 + 9)\nrows_after = 28\nlearned = 448",
        "top_left = 18\nrows_after = 32 - 5\nlearned = 448",
        "top_left = 18\nrows_after = 28\nlearned = 16 * 3 * 3 + 16",
    ],
    "loss": [
        _LOSS.format(body="return -scores[torch.arange(len(truth)), truth].log().mean()", uniform="log(10)"),
        _LOSS.format(
            body="return -scores.softmax(dim=0)[torch.arange(len(truth)), truth].log().mean()", uniform="log(10)"
        ),
        _LOSS.format(body="return F.cross_entropy(scores.softmax(dim=1), truth)", uniform="log(10)"),
        _LOSS.format(body="return F.cross_entropy(scores, truth)", uniform="log(1 / 10)"),
        # Logarithm of base 2.
        _LOSS.format(body="return F.cross_entropy(scores, truth)", uniform="3.32"),
    ],
    "gradient_step": [
        "after_one_step = 0 + 0.1 * 2 * (0 - 3)\ntoo_long = 1.0",
        "after_one_step = 0.3\ntoo_long = 1.0",
        "after_one_step = 0.6\ntoo_long = 0.5",
    ],
    "repair_the_step": [
        _STEPS.format(before="weight.grad = None", sign="+", after="pass"),
        _STEPS.format(before="pass", sign="-", after="weight.grad /= 2"),
        _STEPS.format(before="rate = rate / 2", sign="-", after="pass"),
    ],
    "claim": [
        'lower_limit = 0.92 - 0.05\nverdict = "inconclusive"\nchosen_on = "validation"',
        'lower_limit = wilson(92, 100).low\nverdict = "supported"\nchosen_on = "validation"',
        'lower_limit = wilson(92, 100).low\nverdict = "contradicted"\nchosen_on = "validation"',
        'lower_limit = wilson(92, 100).low\nverdict = "inconclusive"\nchosen_on = "test"',
    ],
}
