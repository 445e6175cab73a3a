"""Plausible wrong answers to the exercises of notebook 06."""

WRONG = {
    "energy_score": [
        "def energy_of(logits, temperature):\n    return (logits / temperature).logsumexp(dim=1)",  # without T
        "def energy_of(logits, temperature):\n    return temperature * (logits / temperature).amax(dim=1)",  # max logit
        "def energy_of(logits, temperature):\n    return (logits / temperature).softmax(dim=1).amax(dim=1)",
        "def energy_of(logits, temperature):\n    return temperature * (logits / temperature).exp().sum(dim=1).log()",
        "def energy_of(logits, temperature):\n"
        "    return temperature * (logits / temperature).logsumexp(dim=1, keepdim=True)",  # another shape
    ],
    "auroc_by_hand": [
        "area = (known_scores > unknown_scores.mean()).float().mean()\n"
        "passed = (unknown_scores >= val_scores.mean()).float().mean()",
        "area = (known_scores[:, None] > unknown_scores).float().mean()\n"  # ties counted as 0
        "passed = (unknown_scores < val_scores.sort().values[3]).float().mean()",  # what is detected
        "area = (val_scores[:, None] > unknown_scores).float().mean()\n"  # scores of the wrong images
        "passed = (unknown_scores > val_scores.sort().values[3]).float().mean()",
    ],
    "honest_threshold": [
        "import torch\n\ndef choose_threshold(validation, known, unknown):\n"
        "    return float(known.sort().values[3])",  # the known images of the test
        "import torch\n\ndef choose_threshold(validation, known, unknown):\n"
        "    return float(unknown.quantile(0.95))",  # the unknown images of the test
        "import torch\n\ndef choose_threshold(validation, known, unknown):\n"
        "    return float(validation.sort().values[57])",  # keeps 5 % of the known images
        "import torch\n\ndef choose_threshold(validation, known, unknown):\n"
        "    return float(validation.quantile(0.05))",  # between two scores
        "import torch\n\ndef choose_threshold(validation, known, unknown):\n"
        "    return float(validation.sort().values[3])",  # right for 60 scores only
    ],
    "harmonic_means": [
        "lopsided = (0.88 + 0.02) / 2\neven = 0.45",
        "lopsided = (0.88 * 0.02) ** 0.5\neven = (0.45 * 0.45) ** 0.5",
        "lopsided = 2 * 88 * 2 / (88 + 2)\neven = 45",  # in percent
        "lopsided = 0.88 * 0.02 / (0.88 + 0.02)\neven = 0.45 * 0.45 / 0.9",
    ],
    "claims": [
        'supported = {"A": True, "B": False, "C": True, "D": False}',
        'supported = {"A": False, "B": True, "C": True, "D": False}',
        'supported = {"A": False, "B": False, "C": True, "D": True}',
    ],
}
