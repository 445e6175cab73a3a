"""Plausible wrong answers to the exercises of notebook 03; each replaces the solution cell."""

AVERAGE = "start_share = {0}\nstart_share_fast = {1}\nbatches_needed = {2}"
FAIR = """is_dog, dog_chance = shy_network()


def fair_accuracy(dog_chance, is_dog, cut):
    says_dog = dog_chance >= cut
    return {0}


best_fair = max(fair_accuracy(dog_chance, is_dog, cut) for cut in dog_chance)"""
REPAIRED = """def validate(classify, images, labels):
    {0}


def make_splits(images, labels, augment):
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).tolist()
    cut = len(order) * 4 // 5
    {1}"""
SOUND = "return (classify(images) == labels).float().mean()"
SPLITS = "return Subset(Pictures(images, labels, augment), order[:cut]), Subset(Pictures(images, labels), order[cut:])"
SHARED = """whole = Pictures(images, labels, augment)
    whole.transform = None
    return Subset(whole, order[:cut]), Subset(whole, order[cut:])"""
SHUFFLED = """order = torch.randperm(len(images))
    return (classify(images[order]) == labels).float().mean()"""

WRONG = {
    "running_average": [
        AVERAGE.format("0.1**23", "0.5**23", "44"),
        AVERAGE.format("1 - 0.9**23", "1 - 0.5**23", "44"),
        AVERAGE.format("0.9**23", "0.5**23", "43"),
    ],
    "thresholds": [
        FAIR.format("(says_dog == is_dog).float().mean()"),
        FAIR.format("(says_dog & is_dog).sum() / is_dog.sum()"),
        FAIR.format("((says_dog & is_dog).sum() / says_dog.sum() + (~says_dog & ~is_dog).sum() / 90) / 2"),
    ],
    "validation": [
        REPAIRED.format("return (classify(images.flip(-1)) == labels).float().mean()", SPLITS),
        REPAIRED.format(SHUFFLED, SPLITS),
        REPAIRED.format(SOUND, SHARED),
    ],
    "claims": [
        'holds = {"A": True, "B": False, "C": True, "D": False}',
        'holds = {"A": False, "B": True, "C": True, "D": False}',
        'holds = {"A": False, "B": False, "C": False, "D": True}',
    ],
}
