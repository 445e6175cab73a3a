"""Three plausible wrong answers to each exercise of the notebook."""

WRONG = {
    "last_layers": [
        """
def freeze_partial(network, k):
    network.requires_grad_(False)
    weighted = [child for child in network.children() if any(True for _ in child.parameters())]
    for layer in weighted[-k:]:
        layer.requires_grad_(True)
    return network
""",
        """
def freeze_partial(network, k):
    network.requires_grad_(False)
    for layer in list(network.modules())[-k:]:
        layer.requires_grad_(True)
    return network
""",
        """
def freeze_partial(network, k):
    weighted = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer in weighted[-k:]:
        layer.requires_grad_(True)
    return network
""",
    ],
    "drifting_mean": [
        "drifted_to = 2 * 0.9**20\nhalf_way = 7",
        "drifted_to = 20 * 0.1 * 2\nhalf_way = 5",
        "drifted_to = 2 * (1 - 0.9**20)\nhalf_way = 6",
    ],
    "frozen_batch_norm": [
        """
def freeze_backbone(network):
    network.requires_grad_(False)
    network[-1].requires_grad_(True)
    network.eval()
    return network
""",
        """
def freeze_backbone(network):
    network.requires_grad_(False)
    network[-1].requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network.train()
    return network
""",
        """
def freeze_backbone(network):
    network.requires_grad_(False)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network
""",
    ],
    "closed_form_probe": [
        """
def probe_classes(train_features, train_labels, test_features, strength):
    targets = nn.functional.one_hot(train_labels).float()
    weights = torch.linalg.lstsq(train_features, targets).solution
    return (test_features @ weights).argmin(dim=1)
""",
        """
def probe_classes(train_features, train_labels, test_features, strength):
    targets = nn.functional.one_hot(train_labels).float()
    gram = train_features.T @ train_features + strength
    weights = torch.linalg.solve(gram, train_features.T @ targets)
    return (test_features @ weights).argmax(dim=1)
""",
        """
def probe_classes(train_features, train_labels, test_features, strength):
    targets = nn.functional.one_hot(train_labels).float()
    gram = train_features.T @ train_features + strength * torch.eye(train_features.shape[1])
    weights = torch.linalg.solve(gram, train_features.T @ targets)
    return (train_features @ weights).argmax(dim=1)
""",
    ],
    "two_starting_points": [
        'confounded = "ad"\nruns_needed = 12',
        'confounded = "abcd"\nruns_needed = 12',
        'confounded = "abd"\nruns_needed = 6',
    ],
}
