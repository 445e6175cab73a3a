"""Images of classes in turn."""

import torch

from course.datasets import interleaved


def test_classes_take_turns_until_the_smaller_ones_have_no_more_images():
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 1])  # as files are sorted
    assert labels[interleaved(labels)].tolist() == [0, 1, 2, 0, 2, 0, 0]
    assert interleaved(labels).tolist() == [0, 6, 4, 1, 5, 2, 3]  # each class keeps its order


def test_classes_that_take_turns_already_stay_as_they_are():
    labels = torch.arange(3).repeat(4)
    assert torch.equal(interleaved(labels), torch.arange(12))
