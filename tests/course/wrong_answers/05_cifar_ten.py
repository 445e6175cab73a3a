"""Plausible wrong answers to the exercises of notebook 05; each replaces the solution cell."""

SLOPES = "one_sigmoid = {0}\nten_sigmoids = {1}\nten_relus = {2}"
PREPARE = "def preprocess(picture):\n    return {0}"
CHOICE = """def choose_epoch(val_accuracy, test_accuracy):
    epoch = {0}
    return epoch, {1}


def micro_average(probabilities, labels):
    {2}"""
ONE_EACH = """share = (probabilities.argmax(dim=1) == labels).float().mean()
    return share, share"""
ABOVE_HALF = """positive = probabilities > 0.5
    correct = positive.gather(1, labels[:, None]).sum()
    return correct / positive.sum(), correct / len(labels)"""
AVERAGE = "def predict_tta(model, images):\n    return {0}"

WRONG = {
    "vanishing_gradients": [
        SLOPES.format("0.25", "10 * 0.25", "1.0"),
        SLOPES.format("0.5", "0.5**10", "1.0"),
        SLOPES.format("0.25", "0.25**10", "10.0"),
    ],
    "preprocessing": [
        PREPARE.format("picture.permute(2, 0, 1)[None].float() / 255"),
        PREPARE.format("picture.flip(-1).permute(2, 0, 1)[None].float()"),
        PREPARE.format("picture.flip(0).permute(2, 0, 1)[None].float() / 255"),
    ],
    "selection": [
        CHOICE.format("int(test_accuracy.argmax())", "test_accuracy[epoch]", ONE_EACH),
        CHOICE.format("int(val_accuracy.argmax())", "val_accuracy[epoch]", ONE_EACH),
        CHOICE.format("int(val_accuracy.argmax())", "test_accuracy[epoch]", ABOVE_HALF),
    ],
    "augmentation_at_test": [
        AVERAGE.format("model(images.flip(-1))"),
        AVERAGE.format("model(images) + model(images.flip(-1))"),
        AVERAGE.format("(model(images) + model(images.flip(-2))) / 2"),
    ],
    "claims": [
        'holds = {"A": True, "B": True, "C": False, "D": True}',
        'holds = {"A": False, "B": True, "C": True, "D": True}',
        'holds = {"A": False, "B": False, "C": False, "D": True}',
    ],
}
