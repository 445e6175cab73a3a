import itertools
import subprocess
import sys

import pytest
import torch

from imgcls import precision, reproducibility
from imgcls.precision import autocast, pick_precision
from imgcls.reproducibility import derive_seed, fork_rng, generator, provenance, seed_device


def test_seeds_are_the_same_in_every_process():
    code = "from imgcls.reproducibility import derive_seed; print(derive_seed(0, 'train', 3, 7))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(there.stdout) == derive_seed(0, "train", 3, 7)


def test_seeds_of_neighbouring_keys_are_unrelated():
    seeds = [derive_seed(seed, kind, step) for seed in range(8) for kind in ("order", "model") for step in range(64)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    ones = torch.tensor([bin(a ^ b).count("1") for a, b in itertools.pairwise(seeds)], dtype=torch.float)
    assert 29 < ones.mean() < 34  # half of 63 bits differ


def test_derive_seed_keeps_text_and_numbers_and_boundaries_apart():
    assert len({derive_seed(1, 23), derive_seed(12, 3), derive_seed("1", 23), derive_seed(123)}) == 4


def test_generator_repeats():
    assert torch.equal(torch.rand(5, generator=generator(1, "a")), torch.rand(5, generator=generator(1, "a")))
    assert not torch.equal(torch.rand(5, generator=generator(1, "a")), torch.rand(5, generator=generator(1, "b")))


def test_seeding_a_device_is_seeding_its_global_generator():
    cpu = torch.device("cpu")
    with torch.random.fork_rng():
        seed_device(cpu, 3, "model", 1)
        drawn = torch.rand(4)
        torch.manual_seed(derive_seed(3, "model", 1))
        assert torch.equal(drawn, torch.rand(4))


@pytest.mark.parametrize(
    ("started_with", "variable", "expected"),
    [
        (4, None, 8),  # PyTorch starts with the physical cores
        (8, None, 8),
        (4, "4,2", 4),
        (8, " 3 ", 3),
        (8, "all", 8),
        (8, "0", 8),
        (2, None, 2),  # torch.set_num_threads(2)
        (2, "6", 2),
    ],
)
def test_threads_that_somebody_chose_stay(monkeypatch, started_with, variable, expected):
    threads = [started_with]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(reproducibility, "cpu_count", lambda: 8)
    monkeypatch.setattr(reproducibility.psutil, "cpu_count", lambda logical: 4)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert reproducibility.configure_threads.__wrapped__() == expected


def test_a_fork_restores_the_global_generator():
    before = torch.get_rng_state()
    with fork_rng():
        torch.rand(3)
        assert not torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_precision_follows_the_cpu(monkeypatch):
    monkeypatch.delenv("IMGCLS_PRECISION", raising=False)
    cpu = torch.device("cpu")
    for flags, expected in (
        ({"amx_bf16"}, torch.bfloat16),
        ({"avx512_bf16"}, torch.bfloat16),
        ({"avx2"}, torch.float32),
    ):
        monkeypatch.setattr(precision, "_cpu_flags", lambda flags=flags: frozenset(flags))
        assert pick_precision(cpu) == expected
        with autocast(cpu):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), torch.float32),  # GTX 1080
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # T4, whose bfloat16 is emulated
        ((8, 0), torch.bfloat16),  # A100
        ((8, 9), torch.bfloat16),  # RTX 4090
        ((9, 0), torch.bfloat16),  # H100
        ((10, 0), torch.bfloat16),  # B200
    ],
)
def test_precision_follows_the_compute_capability(monkeypatch, capability, expected):
    monkeypatch.delenv("IMGCLS_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)  # as PyTorch says on a T4
    assert pick_precision(torch.device("cuda")) == expected


def test_a_variable_forces_the_precision(monkeypatch):
    cpu = torch.device("cpu")
    for flags in ({"avx512_bf16"}, {"avx2"}):
        monkeypatch.setattr(precision, "_cpu_flags", lambda flags=flags: frozenset(flags))
        for name in ("float32", "bfloat16"):
            monkeypatch.setenv("IMGCLS_PRECISION", name)
            assert pick_precision(cpu) == getattr(torch, name)
            assert provenance()["precision"] == name
            with autocast(cpu):
                assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, name)
    monkeypatch.setenv("IMGCLS_PRECISION", "float")
    with pytest.raises(ValueError, match="IMGCLS_PRECISION=float is unknown; did you mean 'float32'"):
        pick_precision(cpu)


def test_provenance_says_what_ran():
    record = provenance()
    assert record["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    assert record["precision"] in ("bfloat16", "float32")
    assert set(record) == {"python", "torch", "device", "threads", "precision", "commit", "dirty"}


@pytest.mark.parametrize(
    ("status", "dirty"),
    [
        ("", False),
        (" M imgcls/files.py", True),
        (" D README.md", True),
        ("?? run/card.json\n?? run/weights.safetensors", False),
        ("?? run/card.json\n?? imgcls/new.py", True),
        ('?? "imgcls/n\\303\\251.py"', True),
        (None, None),
    ],
)
def test_a_new_file_changes_the_commit_only_if_it_is_code(monkeypatch, status, dirty):
    monkeypatch.setattr(reproducibility, "_git", lambda command, *_: status if command == "status" else "1a2b3c4")
    assert provenance()["dirty"] is dirty


def test_provenance_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(reproducibility.paths, "ROOT", tmp_path)
    assert (provenance()["commit"], provenance()["dirty"]) == (None, None)
