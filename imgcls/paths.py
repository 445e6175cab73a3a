"""The folders of the project; each module that writes a file names the file, in one of these folders."""

import os
import tempfile
from pathlib import Path

import platformdirs


def _root() -> Path:
    """IMGCLS_ROOT, else the checkout, else (installed as a package) the user's folder for data."""
    checkout = Path(__file__).resolve().parent.parent
    if os.environ.get("IMGCLS_ROOT"):
        return Path(os.environ["IMGCLS_ROOT"])
    return checkout if (checkout / "Makefile").is_file() else _homeless() or platformdirs.user_data_path("imgcls")


def _rebuilt() -> Path:
    """The parent of what is rebuilt when needed: `build` of a checkout, else the user's folder for caches.

    That folder is also taken where another user owns `build`, or its cache.
    """
    if not _homeless() and platformdirs.user_data_path("imgcls") == ROOT:
        return platformdirs.user_cache_path("imgcls")
    if _writable(BUILD) and all(os.access(one, os.W_OK) for one in BUILD.glob("cache")):
        return BUILD
    return _homeless() or platformdirs.user_cache_path("imgcls")


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to, or made where it is missing."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return os.access(existing, os.W_OK)


def _homeless() -> Path | None:
    """A folder for a user without a home folder that can be written to, as in many containers; None where there is one.

    A container often gives such a user the home folder `/`, or one that nobody has made.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 - pathlib raises
    if home != "~" and _writable(Path(home)):
        return None
    return Path(tempfile.gettempdir(), f"imgcls-{os.getuid()}")


ROOT = _root()
NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
BUILD = ROOT / "build"
CACHE = _rebuilt() / "cache"
BACKBONES = _rebuilt() / "backbones"
REPORTS = ROOT / "reports"
FIGURES = ROOT / "figures"
REMEMBERED = 20  # runs whose folders are noted
DATA = ROOT / "data"


def remember_run(folder: Path) -> None:
    """Note the folder of a trained run, which may be anywhere, for the page."""
    known = dict.fromkeys([str(folder.absolute()), *map(str, remembered_runs())])
    BUILD.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in list(known)[:REMEMBERED])
    (BUILD / "runs.txt").write_bytes(os.fsencode(text))


def remembered_runs() -> list[Path]:
    """Folders of the runs that were trained last, the newest first, as far as they still exist."""
    file = BUILD / "runs.txt"
    lines = os.fsdecode(file.read_bytes()).splitlines() if file.is_file() else []
    return [folder for folder in map(Path, lines) if folder.is_dir()]


def complete_environment() -> None:
    """Give a user without a passwd entry a name, and one without a home a folder for the files of other libraries.

    PyTorch's compiler, which torchvision imports, fails without a name; others write into a folder called `~`.
    """
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # by the version of Python
        os.environ["USER"] = f"user-{os.getuid()}"
    if folder := _homeless():
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(folder)
