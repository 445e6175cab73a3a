"""The folders of the project; each module that writes a file names the file, in one of these folders."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("IMGCLS_ROOT", Path(__file__).resolve().parent.parent))
"""The checkout; set IMGCLS_ROOT when the library is installed elsewhere."""

NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
BUILD = ROOT / "build"
CACHE = BUILD / "cache"
BACKBONES = BUILD / "backbones"
REPORTS = ROOT / "reports"
FIGURES = ROOT / "figures"
DATA = ROOT / "data"
