"""Run every benchmark, then draw the figure.

python -m benchmarks [--out FILE]     (about an hour on two idle cores)
"""

import subprocess
import sys
import time

from benchmarks.measure import arguments

NAMES = (
    "augment",
    "layers",
    "loop_overhead",
    "epoch",
    "first_epochs",
    "frozen",
    "muon",
    "decode",
    "readers",
    "fuzz",
    "menagerie",
    "difficulty",
    "chart",
)


def main() -> int:
    """Run each benchmark in its own process; return 1 if any failed, after running the rest."""
    args = arguments(__doc__, runs=None)
    failed = []
    for name in NAMES:
        print(f"\n── {name}", flush=True)
        begun = time.perf_counter()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(args.out)]).returncode:
            failed.append(name)
        print(f"   {(time.perf_counter() - begun) / 60:.1f} minutes", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}; their old rows are kept", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
