"""Benchmarks: arithmetic and bookkeeping against worked examples, and that every peer does the same work as ours."""

import json
import math
import multiprocessing
import sys
import zipfile
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from conftest import colour_split
from PIL import Image

from benchmarks import (
    chart,
    decode,
    fast,
    fuzz,
    loop_overhead,
    loops,
    malformed,
    measure,
    readers,
    record,
    tasks,
)
from benchmarks.record import meets_target, report, row, versus
from imgcls.data import load
from imgcls.messages import UserError

SCHEMA = {"name", "unit", "ours", "peer", "peer_name", "ratio", "target", "runs"}
PER_CLASS, BATCH = 40, 16


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Red, green and blue noise as JPEGs of 32 px, packed as class folders below a wrapper."""
    folder = tmp_path_factory.mktemp("bench")
    split = colour_split(3 * PER_CLASS, seed=3, noise=120, size=32)
    with zipfile.ZipFile(folder / "colours.zip", "w") as packed:
        for index in range(3 * PER_CLASS):
            kind, pixels = index % 3, split.images[index].clone()
            pixels[:] = pixels // 3
            pixels[kind] += 120
            data = BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(data, "JPEG")
            packed.writestr(f"colours/{split.classes[kind]}/{index:03d}.jpg", data.getvalue())
    made = tasks.prepare(folder / "colours.zip", folder, 32)
    return replace(made, batch_size=BATCH)


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    ("unit", "target", "ours", "peer", "ratio"),
    [
        ("s", ">= 5", [2.0, 1.0, 3.0], [10.0, 9.0, 20.0], 5.0),  # times: how many times sooner
        ("images/s", ">= 10", [300.0, 100.0, 200.0], [20.0, 10.0, 40.0], 10.0),  # rates: how many times as many
        ("ms", "<= 1.05", [1.04, 1.0, 1.1], [1.0, 0.9, 1.3], 1.04),  # a cost: how many times the peer's time
        ("images/s", "<= 2", [50.0], [100.0], 2.0),  # a cost as rates
    ],
)
def test_the_ratio_is_that_of_the_medians_and_points_the_way_of_its_target(unit, target, ours, peer, ratio):
    one = versus("x", unit, ours, peer, "peer 1.0", target)
    assert one["ratio"] == pytest.approx(ratio)
    assert meets_target(one) is True
    assert one["spread"][0] <= one["spread"][1]
    assert one["runs"] == len(ours)
    assert set(one) >= SCHEMA
    assert (one["ours_runs"], one["peer_runs"]) == (ours, peer)


@pytest.mark.parametrize(
    ("target", "ratio", "kept"),
    [("> 1", 1.0, False), (">= 1", 1.0, True), ("<= 1.05", 1.06, False), ("< 2", 1.9, True), ("-", 3.0, None)],
)
def test_a_target_is_kept_or_not(target, ratio, kept):
    assert meets_target(row("x", "s", 1.0, target, 1, ratio=ratio)) is kept


def test_a_row_without_a_peer_is_held_to_its_value():
    assert meets_target(row("x", "s", 1.0, ">= 1", 1)) is True
    assert meets_target(row("x", "s", 1.0, "< 1", 1)) is False
    assert meets_target(row("x", "s", 1.0, "-", 1)) is None
    assert set(row("x", "s", 1.0, "-", 1)) == SCHEMA


def test_sides_that_were_not_measured_by_turns_are_refused():
    with pytest.raises(ValueError, match="2 runs of ours and 1 of kornia"):
        versus("x", "s", [1.0, 2.0], [1.0], "kornia", "> 1")


def test_a_report_replaces_rows_of_its_name_and_keeps_the_others(tmp_path, capsys, monkeypatch):
    out = tmp_path / "new" / "results.json"
    report([row("a", "s", 1.0, "-", 1), row("b", "s", 2.0, "-", 1)], out)
    here = record.machine()
    monkeypatch.setattr(record, "machine", lambda: here | {"cpu": "Z80"})
    report([versus("b", "s", [1.0], [0.5], "kornia 0.9", ">= 2")], out)
    found = json.loads(out.read_text())
    assert [(one["name"], one["ours"], one["ratio"]) for one in found["rows"]] == [("a", 1.0, None), ("b", 1.0, 0.5)]
    assert all("commit" in one for one in found["rows"])
    assert [one["cpu"] for one in found["rows"]] == [here["cpu"], "Z80"]
    assert "MISSED" in capsys.readouterr().out


def test_the_machine_is_described():
    here = record.machine()
    assert here["threads"] == torch.get_num_threads()
    assert (
        here["versions"]["torch"] == torch.__version__.split("+")[0] or here["versions"]["torch"] == torch.__version__
    )
    assert set(here["flags"]) <= set(record.UNITS)
    assert record.version("a-package-that-nobody-has") is None


def test_the_committed_results_keep_the_schema():
    found = json.loads(record.RESULTS.read_text())
    assert len({one["name"] for one in found["rows"]}) == len(found["rows"])
    for one in found["rows"]:
        assert set(one) >= SCHEMA, one["name"]
        if "ours_runs" in one:
            again = versus(one["name"], one["unit"], one["ours_runs"], one["peer_runs"], "", one["target"])
            assert one["ratio"] == pytest.approx(again["ratio"], rel=0.01), one["name"]


# ------------------------------------------------------------------ timing


def test_sides_are_timed_by_turns_and_every_other_round_backwards(capsys):
    calls = []
    works = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    assert measure.alternate(works, 3) == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}
    assert calls == list("abbaab")


def test_the_fastest_candidate_is_found_without_its_first_call(capsys):
    times = {"slow to start": iter([9.0, 1.0, 2.0]), "steady": iter([2.0, 2.0, 2.0])}
    assert measure.fastest({name: lambda t=t: next(t) for name, t in times.items()}) == "slow to start"


def test_a_process_of_its_own_starts_loader_workers_as_a_user_would():
    """The planted fault: a spawned process spawns its children too, and a peer's loader pays seconds for each."""
    with measure.own_process() as process:
        assert process(multiprocessing.get_start_method) == multiprocessing.get_start_method()


# ------------------------------------------------------------------ the same work


def test_ours_and_the_peers_have_the_same_files(task):
    found = tasks.splits(task)
    for part in ("train", "val"):
        here = {path.relative_to(task.folder / part).as_posix() for path in (task.folder / part).rglob("*.jpg")}
        assert here == set(getattr(found, part).names)
    assert task.images == len(found.train) == 3 * PER_CLASS - 6  # one of each class to validate, one to test
    images, _ = next(iter(loops.image_folder(replace(task, batch_size=task.images), augment=False)))
    theirs = images * torch.tensor(task.std)[:, None, None] + torch.tensor(task.mean)[:, None, None]
    sums = [(255 * x).round().flatten(1).sum(1).sort().values for x in (theirs, found.train.images / 255)]
    assert torch.equal(*sums)  # the same pixels, in some order


def test_a_cap_on_the_images_is_the_same_for_both_and_balanced(task, tmp_path):
    fewer = tasks.prepare(task.archive, tmp_path, 32, images=30)
    counts = [len(list(folder.iterdir())) for folder in (fewer.folder / "train").iterdir()]
    assert counts == [10, 10, 10]
    assert fewer.images == 30


@pytest.mark.parametrize("fast", [False, True])
def test_networks_of_ours_and_the_peers_have_the_same_parameters(task, fast):
    def shapes(model):
        return {name.removeprefix("network."): parameter.shape for name, parameter in model.named_parameters()}

    peer = tasks.peer_network(replace(task, fast=fast))
    assert shapes(tasks.our_network(task)) == shapes(peer)
    theirs, ours = dict(peer.named_parameters()), dict(tasks.our_network(task).network.named_parameters())
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    convolution = next(p for p in peer.parameters() if p.ndim == 4 and p.shape[1] > 1)
    assert convolution.is_contiguous(memory_format=torch.channels_last) is fast


@pytest.fixture(scope="module")
def elsewhere(request):
    """A process in which frameworks may patch and set what they like, and the settings it is for."""
    with measure.own_process() as process:
        yield process, request.param


@pytest.mark.parametrize("elsewhere", [False, True], indirect=True, ids=["default", "fast"])
@pytest.mark.parametrize("name", ["ours", *loops.PEERS])
def test_every_pipeline_takes_the_same_steps_and_learns(task, name, elsewhere):
    if name in record.PEERS:
        pytest.importorskip(name)
    process, fast = elsewhere
    done = process(loops.run, name, replace(task, epochs=4, fast=fast, network="cifar_batchnorm"))
    assert done.steps == 4 * (task.images // BATCH)
    assert done.loss < 0.5 * math.log(3)  # half the loss of a uniform prediction
    assert done.seconds > 0


def test_the_passes_of_an_epoch_are_as_many_as_its_steps(task, monkeypatch):
    network, calls = loops.our_network(task), []
    network.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(loops, "our_network", lambda _: network)
    assert loops.passes(task) > 0
    assert len(calls) == task.images // BATCH + 1  # one to warm up


@pytest.mark.parametrize("elsewhere", [True], indirect=True, ids=["fast"])
@pytest.mark.parametrize("name", ["ours", "bare", *loop_overhead.PEERS])
def test_every_loop_over_images_in_memory_takes_the_same_steps(name, elsewhere):
    if name in record.PEERS:
        pytest.importorskip(name)
    process, _ = elsewhere
    assert 0 < process(loop_overhead.milliseconds, name, 5) < 10_000  # the function itself counts the steps


@pytest.mark.parametrize("name", loop_overhead.WITHOUT)
def test_a_step_is_timed_with_and_without_each_optimisation(name):
    assert all(0 < loop_overhead.step_milliseconds(name, patched, steps=1) < 10_000 for patched in (False, True))


def test_shuffled_batches_hold_every_image_once():
    split = loop_overhead.images(4 * loop_overhead.BATCH)
    order = [torch.cat([x.flatten(1).sum(1) for x, _ in loop_overhead.Shuffled(split)]) for _ in range(2)]
    assert torch.equal(order[0].sort().values, split.images.flatten(1).sum(1).sort().values)
    assert not torch.equal(*order)


# ------------------------------------------------------------------ the figure


def example_rows():
    return [
        versus("epoch_vs_fastai", "s", [1.0], [4.0], "fastai 2.8", "> 1", what="an epoch"),
        versus("epoch_vs_fastai_best", "s", [1.0], [2.0], "fastai 2.8", "> 1", what="an epoch"),
        versus("augment_vs_kornia", "images/s", [12.0], [10.0], "kornia 0.9", ">= 1.5", what="crop"),
        versus("loop_overhead", "ms", [1.02], [1.0], "bare PyTorch loop", "<= 1.05"),
        versus("loop_overhead_fastai", "ms", [1.02], [1.9], "fastai 2.8", "> 1", peer_overhead=1.9),
        versus("muon_vs_adamw", "s", [1.0], [0.1], "AdamW, fused", "none"),
        row("menagerie_64px", "images/s", 300.0, ">= 300", 5),
    ]


def test_the_figure_is_drawn_from_the_results(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"machine": {}, "rows": example_rows()}))
    path = chart.draw(tmp_path / "results.json", tmp_path / "benchmarks.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_bars_are_the_ratios_and_a_missed_target_has_its_own_colour():
    figure = chart.ratios(example_rows())
    above, below = figure.axes
    assert [bar.get_x() + bar.get_width() for bar in above.patches] == pytest.approx([4.0, 2.0, 1.2])
    assert [bar.get_width() for bar in below.patches] == pytest.approx([1.02, 1.9])
    colours = [bar.get_facecolor() for bar in above.patches]
    assert colours[0] == colours[1] != colours[2]  # 1.2, with a target of 1.5


def test_results_without_a_ratio_make_no_figure():
    with pytest.raises(ValueError, match="no rows with a ratio"):
        chart.ratios([row("menagerie_64px", "images/s", 300.0, ">= 300", 5)])


# ------------------------------------------------------------------ malformed files


def test_a_mutated_file_depends_on_its_draws_alone_and_half_the_pngs_keep_sums_that_hold():
    data, other = malformed.encode(malformed.noise("a")), malformed.encode(malformed.noise("b"), "WEBP")
    changed = [fuzz.mutate(data, other, np.random.default_rng(seed)) for seed in range(200)]
    assert changed == [fuzz.mutate(data, other, np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(changed)) > 150
    assert changed.count(data) < 5
    mended = fuzz._with_checksums(bytearray(data[:20] + b"\x09" + data[21:]))
    assert zlib.crc32(mended[12:29]) == int.from_bytes(mended[29:33], "big")


def test_a_campaign_counts_each_file_once_and_is_the_same_in_pieces():
    photos, others = fuzz.originals(None)
    assert photos == []
    whole = fuzz.campaign(photos, others, 0, 60, seed=1)
    parts = [fuzz.campaign(photos, others, first, 30, seed=1) for first in (0, 30)]
    assert whole["read"] + sum(whole["skipped"].values()) == 60
    assert whole["read"] == sum(part["read"] for part in parts)
    assert whole["slowest"] > 0


@pytest.mark.parametrize("died", ["import os; os._exit(139)", "raise SystemExit('no memory')"])
def test_a_batch_that_dies_is_a_crash_and_not_a_result(died, tmp_path, monkeypatch):
    (tmp_path / "python").write_text(f"#!{sys.executable}\n{died}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = fuzz.in_batches(tmp_path, 1000, 0, 60)
    assert (found["files"], found["read"], len(found["crashes"])) == (1000, 0, 2)
    assert found["crashes"][0].startswith("cases 0 to 499, code ")


def test_the_outcome_of_a_reader_depends_on_the_expected_pixels():
    files = {file.name: file for file in malformed.files()}
    good, damaged, listed = files["palette.png"], files["half.jpg"], files["portable.jpg"]
    assert readers.classify(good, good.pixels, ()) == readers.CORRECT
    assert readers.classify(good, good.pixels[::-1], ()) == readers.OTHER
    shown = [file for file in files.values() if file.pixels is not None]
    assert readers.classify(good, files["plain.bmp"].pixels, shown) == readers.REPLACED
    assert readers.classify(damaged, good.pixels, shown) == readers.REPLACED
    nobodys = good.pixels // 2
    assert readers.classify(damaged, nobodys, shown) == readers.REPLACED  # it has no pixels that these could be
    assert readers.classify(listed, nobodys, shown) == readers.DAMAGED


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ours_handles_every_malformed_file_as_expected_and_a_peer_lists_its_files(tmp_path):
    written = readers.write_files(tmp_path / "files")
    outcomes, _ = readers.ours(tmp_path / "files")
    assert len(outcomes) == len(written)
    assert set(outcomes.values()) == {readers.CORRECT, readers.SKIPPED}
    found = readers.imagefolder(tmp_path / "files")
    assert {path for path in found if path.endswith("palette.png")}
    assert not {path for path in found if path.endswith("palette.gif")}  # not on its list


def test_the_table_of_readers_is_made_of_the_results():
    rows = [
        row("hostile_files_ours", "files", 5, "-", 1, files=5, outcomes={readers.CORRECT: 3, readers.SKIPPED: 2},
            slowest=0.04),
        row("hostile_files_timm", "files", 5, "-", 1, peer=1, peer_name="timm 1.0",
            outcomes={readers.CORRECT: 1, readers.ERROR: 4}, slowest=1.5),
    ]  # fmt: skip
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in readers.table(rows).splitlines()]
    assert lines[0] == ["of the same 5 files", "imgcls", "timm 1.0"]
    assert {line[0]: line[1:] for line in lines[2:]} == {what: ["0", "0"] for what in readers.OUTCOMES} | {
        readers.CORRECT: ["3", "1"], readers.SKIPPED: ["2", "0"], readers.ERROR: ["0", "4"],
        "slowest file": ["0.04 s", "1.50 s"],
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"measure first: python -m benchmarks\.readers"):
        readers.table([row("another", "s", 1.0, "-", 1)])


def test_decoding_is_timed_on_the_same_pictures(task):
    assert decode.ours(task.archive) == 3 * PER_CLASS
    found = decode.image_folder(task.folder, 0)
    assert found == len(list(task.folder.rglob("*.jpg")))
    assert decode.rate(lambda n: n, 7) > 7


# ------------------------------------------------------------------ the fast recipe

STAND_IN = """
import sys
import torch
from torch import nn

with open(sys.argv[0]) as f:
    code = f.read()

@torch.compile
def score(images, labels):
    return float((2 - images.flatten(2).mean(2).argmax(1) == labels).float().mean())

class CifarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        for mod in self.modules():
            mod.half()

    def forward(self, x):
        return self.layer(x)

def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=1.0, fused=True)

class Loader:
    def __init__(self, split):
        data = torch.load(f"cifar10/{split}.pt", map_location=torch.device("cuda"))
        self.images = data["images"]
        self.images = (self.images.half() / 255).permute(0, 3, 1, 2)
        self.labels = data["labels"]

def main(run, model):
    starter, ender = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    starter.record()
    train, test = Loader("train"), Loader("test")
    assert model.layer.weight.dtype == torch.float32 and len(train.images) > len(test.images)
    products = train.images.flatten(1) @ train.images.flatten(1).T  # outside the network, as those of the whitening
    assert products.dtype == model(torch.ones(1, 2)).dtype == torch.float32
    ender.record()
    torch.cuda.synchronize()
    time_seconds = 1e-3 * starter.elapsed_time(ender)
    print_training_details(locals(), is_final_entry=True)
    return score(test.images, test.labels)
"""


@pytest.fixture
def small_fast(monkeypatch):
    """The fast recipe for a few small images."""
    monkeypatch.setattr(fast, "FAST", replace(fast.FAST, epochs=8, batch_size=16, resolution_schedule=((1, 24),)))
    monkeypatch.setattr(fast, "WIDTHS", (8, 8, 8))


def test_the_peer_of_the_fast_recipe_is_adapted_and_gets_all_images(task, tmp_path):
    (tmp_path / "airbench94_muon.py").write_text(STAND_IN)
    seconds, accuracy = fast.airbench(task.archive, 0, tmp_path / "airbench94_muon.py")
    assert seconds > 0
    assert accuracy > 0.9  # the brightest channel gives the class: blue, green, red
    with pytest.raises(UserError, match="it has no"):
        fast.adapt(STAND_IN.replace("@torch.compile", ""))


@pytest.mark.parametrize("run", [fast.ours, fast.plain_loop])
def test_the_fast_recipe_and_the_plain_loop_train_on_every_image(task, small_fast, run):
    splits = load(task.archive, image_size=32)
    assert len(fast.all_for_training(task.archive).train) == len(splits.train) + len(splits.val)
    seconds, accuracy = run(task.archive, 0)
    assert seconds > 0
    assert accuracy > 0.4  # three classes
