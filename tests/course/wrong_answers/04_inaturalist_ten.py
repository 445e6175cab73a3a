"""Three plausible wrong answers to each exercise of the notebook."""

WRONG = {
    "layer_cost": [
        "first_parameters = 64 * 9 * 3\nbusiest_layer = 2\nbusiest_work = 9 * 64 * 64 * 16 * 16",
        "first_parameters = 64 * (9 * 3 + 1)\nbusiest_layer = 1\nbusiest_work = 9 * 3 * 64 * 32 * 32",
        "first_parameters = 64 * (9 * 3 + 1)\nbusiest_layer = 2\nbusiest_work = 9 * 64 * 64 * 32 * 32",
    ],
    "shared_transform": [
        """
def with_transforms(data_set, train_rows, val_rows, augmentation):
    training_part, validation_part = Subset(data_set, train_rows), Subset(data_set, val_rows)
    validation_part.dataset.transform = None
    training_part.dataset.transform = augmentation
    return training_part, validation_part
""",
        """
from copy import copy


def with_transforms(data_set, train_rows, val_rows, augmentation):
    training_part, validation_part = copy(Subset(data_set, train_rows)), copy(Subset(data_set, val_rows))
    training_part.dataset.transform = augmentation
    validation_part.dataset.transform = None
    return training_part, validation_part
""",
        """
from copy import copy


def with_transforms(data_set, train_rows, val_rows, augmentation):
    plain = copy(data_set)
    data_set.transform, plain.transform = augmentation, None
    return Subset(data_set, train_rows), Subset(plain, val_rows)
""",
    ],
    "stratified_split": [
        """
def stratified(all_labels, share, seed):
    shuffled = torch.randperm(len(all_labels), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(all_labels), dtype=torch.bool)
    each = round(share * len(all_labels) / len(all_labels.unique()))
    held_out[torch.cat([shuffled[all_labels[shuffled] == k][:each] for k in all_labels.unique()])] = True
    return held_out
""",
        """
def stratified(all_labels, share, seed):
    held_out = torch.zeros(len(all_labels), dtype=torch.bool)
    rows = [(all_labels == k).nonzero().flatten() for k in all_labels.unique()]
    held_out[torch.cat([some[: round(share * len(some))] for some in rows])] = True
    return held_out
""",
        """
def stratified(all_labels, share, seed):
    return torch.rand(len(all_labels), generator=torch.Generator().manual_seed(seed)) < share
""",
    ],
    "best_of_twenty": [
        "half_width = 1.96 * (0.43 * 0.57 / 2400) ** 0.5\n"
        'optimism = 100 * 1.87 * (0.43 * 0.57 / 2400) ** 0.5\nobjection = "b"',
        'half_width = 100 * 1.96 * (0.43 * 0.57 / 2400) ** 0.5\noptimism = 1.87 * half_width\nobjection = "b"',
        "half_width = 100 * 1.96 * (0.43 * 0.57 / 2400) ** 0.5\n"
        'optimism = 100 * 1.87 * (0.43 * 0.57 / 2400) ** 0.5\nobjection = "a"',
    ],
}
