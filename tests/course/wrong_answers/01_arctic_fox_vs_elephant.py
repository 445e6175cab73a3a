"""Plausible wrong answers to the exercises of notebook 01; each replaces the solution cell."""

WRONG = {
    "shifted_boundary": [
        """
accuracy_changes, auroc_changes = True, True
auroc_by_code = (shifted_scores[is_elephant][:, None] > shifted_scores[~is_elephant]).float().mean()
""",
        """
accuracy_changes, auroc_changes = False, False
auroc_by_code = (shifted_scores[is_elephant][:, None] > shifted_scores[~is_elephant]).float().mean()
""",
        """
accuracy_changes, auroc_changes = True, False
auroc_by_code = ((shifted_scores > 0) == is_elephant).float().mean()
""",
        """
accuracy_changes, auroc_changes = True, False
auroc_by_code = (shifted_scores[is_elephant] > shifted_scores[~is_elephant]).float().mean()
""",
        "accuracy_changes, auroc_changes, auroc_by_code = True, False, 0.88",
    ],
    "missing_normalisation": [
        """
def to_network(images, training):
    pixels = images.float() / 255
    return (pixels - pixels.mean(dim=(0, 2, 3), keepdim=True)) / pixels.std(dim=(0, 2, 3), keepdim=True)
""",
        """
def to_network(images, training):
    return images.float() / 255
""",
        """
channel_mean = torch.tensor([0.5059, 0.5021, 0.5020])[:, None, None]
channel_std = torch.tensor([0.2108, 0.1982, 0.1949])[:, None, None]
def to_network(images, training):
    return (images.float() - channel_mean) / channel_std
""",
    ],
    "overwritten_split": [
        """
def split_rows(count, seed):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[: int(0.8 * count)], order
batches_published = 13
""",
        """
def split_rows(count, seed):
    train_rows = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: int(0.8 * count)]
    val_rows = torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1))[int(0.8 * count) :]
    return train_rows, val_rows
batches_published = 13
""",
        """
def split_rows(count, seed):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[: int(0.8 * count)], order[int(0.8 * count) :]
batches_published = 10
""",
        """
def split_rows(count, seed):
    return torch.arange(int(0.8 * count)), torch.arange(int(0.8 * count), count)
batches_published = 13
""",
        """
def split_rows(count, seed):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[: int(0.8 * count)]
batches_published = 13
""",
        """
def split_rows(count, seed):
    order = torch.randperm(count)
    return order[: int(0.8 * count)], order[int(0.8 * count) :]
batches_published = 13
""",
    ],
    "epoch_chosen_on_test": [
        """
def choose_epoch(val_correct, test_correct):
    best = int(val_correct.float().mean(dim=1).argmax())
    return best, float(val_correct.float().mean(dim=1)[best])
""",
        """
def choose_epoch(val_correct, test_correct):
    accuracy = torch.cat([val_correct, test_correct], dim=1).float().mean(dim=1)
    best = int(accuracy.argmax())
    return best, float(test_correct.float().mean(dim=1)[best])
""",
        """
def choose_epoch(val_correct, test_correct):
    best = int(val_correct.float().mean(dim=1).argmax())
    return best, float(test_correct.float().mean(dim=1).max())
""",
        """
def choose_epoch(val_correct, test_correct):
    accuracy = (val_correct.float().mean(dim=1) + test_correct.float().mean(dim=1)) / 2
    best = int(accuracy.argmax())
    return best, float(test_correct[best].float().mean())
""",
        """
def choose_epoch(val_correct, test_correct):
    best = int(val_correct.float().mean(dim=1).argmax())
    return best + 1, float(test_correct[best].float().mean())
""",
        """
def choose_epoch(val_correct, test_correct):
    best = int(val_correct.float().mean(dim=1).argmax())
    return float(test_correct[best].float().mean()), best
""",
        """
def choose_epoch(val_correct, test_correct):
    return len(val_correct) - 1, float(test_correct[-1].float().mean())
""",
    ],
    "two_hundred_of_two_hundred": [
        "valid_objections, enough_images = 'abc', 381",
        "valid_objections, enough_images = 'ac', 200",
        "valid_objections, enough_images = 'bd', 99",
    ],
}
