"""Rows of benchmarks/results.json, and a table of them for the terminal."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from imgcls import reproducibility

RESULTS = Path(__file__).parent / "results.json"


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    provenance = reproducibility.provenance()
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        **{key: provenance[key] for key in ("python", "torch", "device", "threads", "precision", "commit")},
    }


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time of some runs, after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def row(name: str, unit: str, ours: float, target: str, runs: int, **peer: object) -> dict[str, object]:
    """One result; without a peer the columns that speak of it are null."""
    return {"name": name, "unit": unit, "ours": round(ours, 4), "peer": None, "peer_name": None, "ratio": None,
            "target": target, "runs": runs} | peer  # fmt: skip


def report(rows: Sequence[dict[str, object]]) -> None:
    """Print rows, and put them in results.json in place of those of the same name."""
    width = max(len(str(one["name"])) for one in rows)
    for one in rows:
        spread = f"  [{one['low']:.4g}, {one['high']:.4g}]" if "low" in one else ""
        print(f"{one['name']:<{width}}  {one['ours']:>9.4g} {one['unit']}{spread}   target {one['target']}")
    old = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    new = {str(one["name"]) for one in rows}
    merged = [one for one in old if one["name"] not in new] + list(rows)
    RESULTS.write_text(json.dumps({"machine": machine(), "rows": merged}, indent=1) + "\n", encoding="utf-8")
