"""Execute a notebook with papermill and check that it really ran to its end."""

import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.reports import index
from course.reports.errors import ReportError
from course.reports.files import Files, read_cells
from course.reports.markup import plain
from course.reports.parameters import Request
from course.reports.result import validate
from imgcls import paths
from imgcls.files import lock
from imgcls.progress import MIRROR, columns, cut

if TYPE_CHECKING:
    from traitlets.config import Config


def execute(request: Request, timeout: float = 3600) -> Path:
    """Run a notebook in a fresh kernel and return the executed copy under `build/executed/<profile>/`.

    The kernel uses this interpreter and this checkout, and works in the notebooks' folder as Jupyter does. One
    notebook runs at a time in a checkout; others wait. `timeout` is for all cells together, in seconds.

    Raises:
        ReportError: an exception, a dead kernel, the time limit, or no valid result file of this run.
        KeyboardInterrupt: after the page of the failure was written.
    """
    files, requested = request.files, time.time()
    with lock(paths.BUILD / "executed" / ".running", f"{files.name}: waiting for another notebook to finish"):
        if _done_since(requested, request):
            print(f"{files.name}: executed meanwhile by another process", file=sys.stderr)
            return files.executed
        request.stamp()
        started = time.time()
        files.withdraw()  # results of an earlier run could be mistaken for those of this one
        for path in (files.executed, files.running, files.result):
            path.unlink(missing_ok=True)
        index.write_failure(files, index.UNFINISHED)
        index.write_index(files.profile)
        progress = _Progress(files)
        reason: BaseException | str | None = None
        with progress, _environment(request, started, progress.environment) as token:
            try:
                _papermill(request, progress, timeout)
            except (Exception, KeyboardInterrupt) as error:
                # papermill also raises for cells that are expected to raise; find_unfinished checks them
                expected = type(error).__name__ == "PapermillExecutionError" and progress.current is None
                reason = None if expected else error
        if reason is None:
            reason = find_unfinished(files) or find_invalid(files, token)
        if reason is not None:
            explained = _explain(reason, timeout)
            fail(files, explained, cell=progress.current)
            if isinstance(reason, KeyboardInterrupt):
                raise reason
            raise ReportError(f"{files.name} failed: {explained}\n  see {os.path.relpath(files.failed)}")
        files.running.replace(files.executed)
        # A notebook that was saved during the run is newer than this time, and make runs it again.
        os.utime(files.executed, (started, max(started, files.inputs.stat().st_mtime)))
    print(f"{files.name}: executed in {time.time() - started:.0f} s", file=sys.stderr)
    return files.executed


def _done_since(requested: float, request: Request) -> bool:
    """Whether another process finished the same run while this one waited."""
    executed, inputs = request.files.executed, request.files.inputs
    if not executed.exists() or executed.stat().st_ctime < requested or not inputs.exists():
        return False
    before = inputs.stat().st_mtime_ns
    request.stamp()  # rewrites the file only if the request is another one
    return inputs.stat().st_mtime_ns == before and executed.stat().st_mtime >= request.files.notebook.stat().st_mtime


def fail(files: Files, reason: str, cell: int | None = None, keep_executed: bool = False) -> None:
    """Replace the report by `NAME.failed.html`, and update the index."""
    files.withdraw()
    if not keep_executed:
        files.executed.unlink(missing_ok=True)
    index.write_failure(files, reason, **_evidence(files, cell))
    index.write_index(files.profile)


def _papermill(request: Request, progress: "_Progress", timeout: float) -> None:
    import papermill

    deadline = time.monotonic() + timeout
    papermill.execute_notebook(
        request.files.notebook,
        request.files.running,
        parameters=request.overrides,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=paths.NOTEBOOKS,
        stdout_file=progress.log,
        stderr_file=progress.log,
        iopub_timeout=120,  # a large figure may arrive long after its cell on a busy machine
        timeout_func=lambda cell: max(deadline - time.monotonic(), 0.1),
        extra_arguments=["--log-level=CRITICAL"],  # we report why a kernel ended; its own tracebacks would repeat it
        config=_connection(),
        on_cell_start=progress.start,
        on_cell_executed=progress.done,
    )


def _connection() -> "Config":
    """Connect to the kernel by files where the system can: a free port may be taken before the kernel opens it."""
    from traitlets.config import Config

    if os.name == "nt":
        return Config()
    return Config(KernelManager={"transport": "ipc", "ip": os.environ["JUPYTER_RUNTIME_DIR"]})


@contextlib.contextmanager
def _environment(request: Request, started: float, more: dict[str, str]) -> Iterator[str]:
    """Environment of the kernel: the request, this interpreter's kernel, nothing from the user's home, and `more`.

    Yields a token that the result file must contain to be of this run. SIGTERM ends the run like Ctrl-C.
    """
    files, token = request.files, secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="imgcls-") as home:
        report = {"name": files.name, "profile": files.profile, "result": str(files.result)}
        report |= {"token": token, "started": started, "parameters": request.shown}
        values = {
            "IMGCLS_REPORT": json.dumps(report),
            "IMGCLS_ROOT": str(paths.ROOT),
            "PYTHONHASHSEED": "0",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm in other libraries: it asks for widgets
            "PYTHONPATH": _prepend("PYTHONPATH", Path(__file__).parents[2]),
            "JUPYTER_PATH": _prepend("JUPYTER_PATH", Path(sys.prefix, "share", "jupyter")),
            "JUPYTER_RUNTIME_DIR": str(Path(home, "runtime")),
            "IPYTHONDIR": str(Path(home, "ipython")),
        } | more
        before = os.environ.copy()
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        os.environ.update(values)
        try:
            yield token
        finally:
            signal.signal(signal.SIGTERM, handler)
            os.environ.clear()
            os.environ.update(before)


class _Progress:
    """One line per cell on standard error and in the log, which also gets the kernel's output.

    On a terminal, the line of the running cell also shows its progress. papermill forwards the display of a kernel
    only when the cell ends, so `imgcls.progress.Progress` writes its line to a file too, which a thread reads here.
    """

    def __init__(self, files: Files) -> None:
        self.files, self.current, self.began = files, None, 0.0
        self.total = sum(cell["cell_type"] == "code" for cell in read_cells(files.notebook))
        self.count = 0
        self.terminal, self.running, self.shown = sys.stderr.isatty(), False, ""
        self.mirror = files.log.with_suffix(".progress")
        self.environment = {MIRROR: str(self.mirror)}  # without a terminal too: transient lines stay out of a report
        self.drawing, self.over = threading.Lock(), threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Progress":
        self.files.log.parent.mkdir(parents=True, exist_ok=True)
        self.log = self.files.log.open("w", encoding="utf-8", buffering=1)  # written line by line
        self.handler = logging.StreamHandler(self.log)
        self.logger = logging.getLogger("papermill")
        self.logger.addHandler(self.handler)
        self.logger.propagate = False
        if self.terminal:
            self.watcher.start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self.terminal:
            self.over.set()
            self.watcher.join()
        self.mirror.unlink(missing_ok=True)
        self.logger.removeHandler(self.handler)
        self.logger.propagate = True
        if self.current is not None:
            self._end("stopped")
        self.log.close()
        with contextlib.suppress(OSError):  # a full disk: the log stays with every state of redrawn lines
            lines = plain(self.files.log.read_text(encoding="utf-8")).splitlines()
            self.files.log.write_text("".join(f"{line}\n" for line in lines if line), encoding="utf-8")

    def start(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type != "code":
            return
        if "injected-parameters" not in cell.metadata.get("tags", ()):
            self.count += 1
        self.head = f"{self.files.name}  {self.count:3}/{self.total}  "
        with self.drawing:
            self.current, self.cell, self.began, self.running = cell_index, cell, time.monotonic(), True
            if self.terminal:
                self.mirror.unlink(missing_ok=True)
                self._draw(title(cell.source))
            else:
                print(f"{self.head}{title(cell.source):<62}", end="", flush=True, file=sys.stderr)

    def done(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        if execute_reply["content"]["status"] == "ok" or "raises-exception" in cell.metadata.get("tags", ()):
            self._end(f"{time.monotonic() - self.began:7.1f} s")
            self.current = None

    def _end(self, text: str) -> None:
        name = title(self.cell.source)
        with self.drawing:
            if self.terminal:
                room = max(0, min(62, columns() - len(self.head) - len(text) - 1))
                self._draw(f"{cut(name, room - 2):<{room}}{text}")
            print("" if self.terminal else text, flush=True, file=sys.stderr)
            self.running, self.shown = False, ""
        self.log.write(f"\n[{self.head}{name:<62}{text}]\n")

    def _draw(self, text: str) -> None:
        """Rewrite the line, shorter than the terminal: of a wrapped line only the last row can be rewritten."""
        width = columns() - 1
        line = f"{self.head}{cut(text, width - len(self.head))}"[:width]
        if line != self.shown:
            print(f"\r{line:<{min(len(self.shown), width)}}", end="", flush=True, file=sys.stderr)
            self.shown = line

    def _watch(self) -> None:
        """Show the progress of the running cell until the run is over."""
        while not self.over.wait(0.25):
            with self.drawing, contextlib.suppress(OSError, UnicodeDecodeError):
                text = self.mirror.read_text(encoding="utf-8")
                if self.running and text.endswith("\n"):  # an incomplete line was read during a write
                    self._draw(text.rstrip())


def find_unfinished(files: Files) -> str | None:
    """Why a run without an exception is incomplete, else None; papermill calls cells complete that never ran."""
    try:
        cells = read_cells(files.running)
    except (OSError, ValueError) as error:  # most likely a full disk
        return f"the executed notebook is incomplete: {error}"
    for cell in cells:
        if cell["cell_type"] != "code" or not cell["source"].strip():
            continue
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors and "raises-exception" not in cell["metadata"].get("tags", ()):
            return f"{errors[0]['ename']}: {errors[0]['evalue']}"
        if cell["execution_count"] is None:
            return f"the notebook ended before the cell {title(cell['source'])!r} ran"
    return None


def find_invalid(files: Files, token: str) -> str | None:
    """Why the result file is not a valid one of this run, else None."""
    if not files.result.exists():
        return "the notebook ended without writing a result: its last section must call report.write()"
    try:
        content = json.loads(files.result.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"the result file is not JSON: {error}"
    if not isinstance(content, dict) or content.get("token") != token:
        return "the result file is from another run"
    if problems := validate(content, files.name):
        return "the result file is not valid: " + "; ".join(problems)
    return None


def _explain(reason: BaseException | str, timeout: float) -> str:
    if isinstance(reason, str):
        return reason
    kind = type(reason).__name__
    if kind == "PapermillExecutionError":
        return plain(f"{reason.ename}: {reason.evalue}")
    known = {
        "DeadKernelError": "the kernel died: killed from outside, out of memory, or a crash in native code",
        "CellTimeoutError": f"the time limit of {timeout:g} s for the whole notebook was reached",
        "KeyboardInterrupt": "the run was interrupted",
    }
    return known.get(kind, f"{kind}: {reason}")


def _evidence(files: Files, cell: int | None) -> dict[str, Any]:
    """Source, traceback and last outputs of the cell that failed, and the end of the log."""
    log = files.log.read_text(encoding="utf-8", errors="replace") if files.log.exists() else ""
    evidence: dict[str, Any] = {"log": "\n".join(log.splitlines()[-15:])}
    if cell is None or not files.running.exists():
        return evidence
    try:
        cells = read_cells(files.running)
    except ValueError:  # cut off by a full disk: the log must suffice
        return evidence
    # papermill adds cells of its own: the error, and the parameters
    cells = [one for one in cells if "papermill-error-cell-tag" not in one["metadata"].get("tags", ())]
    failed, before = cells[cell], cells[:cell]
    injected = sum("injected-parameters" in one["metadata"].get("tags", ()) for one in before)
    text = "\n".join(one["source"] for one in before if one["cell_type"] == "markdown")
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    outputs, traceback = "", ""
    for output in failed.get("outputs", ()):
        if output["output_type"] == "error":
            traceback = "\n".join(output["traceback"])
        elif output["output_type"] == "stream":
            outputs += "".join(output["text"])
        else:
            outputs += "".join(output["data"].get("text/plain", "")) + "\n"
    return evidence | {
        "cell": cell + 1 - injected,
        "section": headings[-1] if headings else "",
        "source": failed["source"],
        "traceback": traceback,
        "outputs": outputs[-4000:],
    }


def title(source: str) -> str:
    """First line of code of a cell, at most 60 characters."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith(("#", "import "))]
    line = next(iter(code + lines), "")
    return line if len(line) <= 60 else line[:59] + "…"


def _prepend(variable: str, path: Path) -> str:
    """The value of a search path of the environment with one more folder in front."""
    return os.pathsep.join([str(path), *filter(None, [os.environ.get(variable)])])
