"""A step of Muon for ResNet-18 beside timm's Muon, which multiplies in bfloat16 everywhere, and beside AdamW.

python -m benchmarks.muon [--runs 9] [--out FILE]     (about a minute)

The float32 rows show a CPU without bfloat16 units: oneDNN is kept from using them, so that timm's products are
emulated. The emulation, and so the ratio, differs between processors.
"""

import os
import time
from functools import partial

import torch

from benchmarks.loops import has_bfloat16
from benchmarks.measure import alternate, arguments, own_process
from benchmarks.record import Row, report, version, versus
from imgcls.models import create_model
from imgcls.reproducibility import configure_threads
from imgcls.training import Recipe
from imgcls.training.optimizers import make_optimizer

PLAIN = {"IMGCLS_PRECISION": "float32", "DNNL_MAX_CPU_ISA": "AVX512_CORE"}  # no bfloat16 units
STEPS = 3


def seconds(optimizer: str, environment: dict[str, str]) -> float:
    """Seconds of one step, the mean of STEPS after a warm-up step."""
    os.environ.update(environment)
    configure_threads()
    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=10)
    gradients = [torch.randn_like(parameter) for parameter in model.parameters()]
    made = make_optimizer(model, Recipe(optimizer="adamw" if optimizer == "adamw" else "muon"))
    if optimizer == "timm":
        from timm.optim.muon import Muon

        groups = [{"params": group["params"], "use_fallback": not group["muon"]} for group in made.param_groups]
        made = Muon(groups, 0.01, weight_decay=5e-4, momentum=0.9, nesterov=True)
    spent = 0.0
    for step in range(STEPS + 1):
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        begun = time.perf_counter()
        made.step()
        spent += (time.perf_counter() - begun) * (step > 0)
    return spent / STEPS


def rows_in(name: str, environment: dict[str, str], target: str, runs: int) -> list[Row]:
    """A step of ours, of timm's and of AdamW in one precision, by turns in processes of their own."""
    print(name, flush=True)
    with own_process() as ours, own_process() as timm, own_process() as adamw:
        works = {"ours": (ours, "muon"), "timm": (timm, "timm"), "adamw": (adamw, "adamw")}
        found = alternate({key: partial(run, seconds, of, environment) for key, (run, of) in works.items()}, runs)
    peer = f"timm {version('timm')}"
    return [
        versus(f"muon_step_{name}_vs_timm", "s", found["ours"], found["timm"], peer, target, what="ResNet-18"),
        versus(f"muon_step_{name}_vs_adamw", "s", found["ours"], found["adamw"], "AdamW, fused", "-"),
    ]


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, runs=9)
    rows = rows_in("float32", PLAIN, ">= 6", args.runs)
    if has_bfloat16():
        rows += rows_in("bfloat16", {"IMGCLS_PRECISION": "bfloat16"}, ">= 1.3", args.runs)
    report(rows, args.out)


if __name__ == "__main__":
    main()
