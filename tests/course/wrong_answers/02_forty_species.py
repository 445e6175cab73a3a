"""Plausible wrong answers to the exercises of notebook 02."""

FLOORS = "from math import e, exp, log\n"
SCHEDULE = """
import torch

def learning_rates(steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-3, 5e-3, step_size_up=4, cycle_momentum=False)
    rates = []
    for step in range(steps):
        {first}
        rates.append(optimizer.param_groups[0]["lr"])
        weight.sum().backward()
        optimizer.step()
        {last}
    return rates
"""

WRONG = {
    "floors": [
        FLOORS + "tanh_floor = log((e + 39) / e)\nbinary_floor = 0.0",  # the sigmoid's floor; no second sigmoid
        FLOORS + "tanh_floor = 0.0\nbinary_floor = log(2)",
        FLOORS + "tanh_floor = log((e + 39 / e) / e)\nbinary_floor = log(1 + exp(-1))",  # the true class alone
    ],
    "sigmoid_before_loss": [
        "import torch\n\ndef training_loss(outputs, labels):\n"
        "    return torch.nn.functional.cross_entropy(outputs.softmax(dim=1), labels)",
        "import torch\n\ndef training_loss(outputs, labels):\n"
        "    return torch.nn.functional.nll_loss(torch.sigmoid(outputs).log(), labels)",
        "import torch\n\ndef training_loss(outputs, labels):\n"
        "    return torch.nn.functional.cross_entropy(10 * torch.sigmoid(outputs), labels)",
    ],
    "stepped_schedule": [
        SCHEDULE.format(first="pass", last="pass"),  # never stepped
        SCHEDULE.format(first="schedule.step()", last="pass"),  # before the optimizer
        SCHEDULE.format(first="pass", last="schedule.step() if step % 4 == 3 else None"),  # once an epoch
    ],
    "sampling_weights": [
        "import torch\n\ndef weights_of(labels):\n    return torch.ones(len(labels)) / len(labels)",
        "import torch\n\ndef weights_of(labels):\n    return 1 / labels.bincount()[labels]",  # sums to the classes
        "import torch\n\ndef weights_of(labels):\n    counts = labels.bincount()\n"
        "    return counts[labels] / counts[labels].sum()",  # common classes more often
    ],
    "claims": [
        'supported = {"A": True, "B": True, "C": False, "D": False}',
        'supported = {"A": False, "B": False, "C": True, "D": False}',
        'supported = {"A": False, "B": True, "C": True, "D": False}',
    ],
}
