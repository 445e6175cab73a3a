"""Rows of benchmarks/results.json, and their table for the terminal."""

import importlib.metadata
import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imgcls import reproducibility

RESULTS = Path(__file__).parent / "results.json"
PEERS = ("torch", "torchvision", "kornia", "lightning", "fastai", "accelerate", "pillow")
UNITS = ("avx512f", "avx512_bf16", "amx_bf16")  # instruction sets that determine the speed, as named by Linux

Row = dict[str, Any]


def machine() -> dict[str, object]:
    """Describe the machine of a measurement."""
    reproducibility.configure_threads()
    provenance = reproducibility.provenance()
    lines = _cpu_lines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "flags": [unit for unit in UNITS if unit in flags],
        **{key: provenance[key] for key in ("python", "torch", "device", "threads", "precision", "commit", "dirty")},
        "versions": {name: version(name) for name in PEERS},
    }


def version(package: str) -> str | None:
    """Installed version, or None if the package is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []


def row(name: str, unit: str, ours: float, target: str, runs: int, **peer: object) -> Row:
    """One result; without a peer, the columns about it are None."""
    return {"name": name, "unit": unit, "ours": round(ours, 4), "peer": None, "peer_name": None, "ratio": None,
            "target": target, "runs": runs} | peer  # fmt: skip


def versus(
    name: str,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    target: str,
    **more: object,
) -> Row:
    """A row that compares imgcls and a peer, measured in turn.

    `ratio` is that of the medians: the speed-up over the peer, or, with a target such as "<= 1.05", the time relative
    to the peer's. `spread` holds the smallest and largest ratio of a single run.
    """
    if len(ours) != len(peer) or not ours:
        raise ValueError(f"{name}: {len(ours)} runs of ours and {len(peer)} of {peer_name}; measure both in turn")
    cost, rate = target.startswith("<"), unit.endswith("/s")

    def ratio(a: float, b: float) -> float:
        return a / b if rate != cost else b / a

    middle = statistics.median(ours), statistics.median(peer)
    pairs = [ratio(a, b) for a, b in zip(ours, peer, strict=True)]
    return row(
        name, unit, middle[0], target, len(ours), peer=round(middle[1], 4), peer_name=peer_name,
        ratio=round(ratio(*middle), 4), spread=[round(min(pairs), 4), round(max(pairs), 4)],
        ours_runs=[round(value, 4) for value in ours], peer_runs=[round(value, 4) for value in peer], **more,
    )  # fmt: skip


def meets_target(one: Row) -> bool | None:
    """Whether a row meets its target: its ratio, or without a peer its value; None if the target is no bound."""
    bound = re.fullmatch(r"(<=|>=|<|>) ([\d.]+)", one["target"])
    if bound is None:
        return None
    found, limit = one["ours"] if one["ratio"] is None else one["ratio"], float(bound[2])
    return {"<=": found <= limit, ">=": found >= limit, "<": found < limit, ">": found > limit}[bound[1]]


def table(rows: Sequence[Row]) -> str:
    """Format rows for the terminal."""
    width = max(len(str(one["name"])) for one in rows)
    lines = []
    for one in rows:
        text = f"{one['name']:<{width}}  {one['ours']:>9.4g} {one['unit']}"
        if "low" in one:
            text += f"  [{one['low']:.4g}, {one['high']:.4g}]"
        if one["ratio"] is not None:
            text += f"   {one['peer_name']} {one['peer']:.4g}   ratio {one['ratio']:.3g}"
        lines.append(
            f"{text}   target {one['target']}{ {True: ' met', False: ' MISSED', None: ''}[meets_target(one)] }"
        )
    return "\n".join(lines)


def report(rows: Sequence[Row], out: Path = RESULTS) -> None:
    """Print rows, and write them to the results file, where they replace rows of the same name.

    Each row names its commit (None if measured before commits were recorded) and its processor; `machine` describes
    the machine of the latest rows.
    """
    print(table(rows), flush=True)
    here = machine()
    commit = f"{here['commit']}{'+' if here['dirty'] else ''}"
    old = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"rows": []}
    new = {str(one["name"]) for one in rows}
    merged = [{"commit": None, "cpu": old["machine"]["cpu"]} | one for one in old["rows"] if one["name"] not in new]
    merged += [one | {"commit": commit, "cpu": here["cpu"]} for one in rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": here, "rows": merged}, indent=1) + "\n", encoding="utf-8")
