"""What every benchmark shares: interleaved timing, and a record of machine and versions."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "skltransfer",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "torchvision",
    "onnxruntime",
    "openvino",
    "pillow",
    "adapt",
    "skada",
    "cvxopt",
    "skorch",
    "embetter",
    "gensim",
    "timm",
)


def one_thread() -> None:
    """Let numerical libraries use one thread; call before they are imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"


def interleave(contenders: dict, n_rounds: int) -> dict[str, dict]:
    """Run the contenders in turn, round by round, after one round that is not counted.

    Parameters
    ----------
    contenders : dict of str to callable
        Each takes no argument; what it returns last is kept.
    n_rounds : int
        Rounds that are counted.

    Returns
    -------
    results : dict of str to dict
        ``cpu_seconds`` and ``wall_seconds`` (medians), ``cpu_seconds_all``, and ``result``.
    """
    cpu = {name: [] for name in contenders}
    wall = {name: [] for name in contenders}
    result = {}
    for round_number in range(n_rounds + 1):
        for name, run in contenders.items():
            start_cpu, start_wall = time.process_time(), time.perf_counter()
            result[name] = run()
            if round_number:
                cpu[name].append(time.process_time() - start_cpu)
                wall[name].append(time.perf_counter() - start_wall)
    return {
        name: {
            "cpu_seconds": statistics.median(cpu[name]),
            "wall_seconds": statistics.median(wall[name]),
            "cpu_seconds_all": cpu[name],
            "result": result[name],
        }
        for name in contenders
    }


def machine() -> dict[str, object]:
    """Describe the machine and the versions, without any path."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or "default",
        "python": platform.python_version(),
        "versions": versions,
    }


def write(script: str, record: dict) -> None:
    """Write a record as JSON beside its script, and print it."""
    path = Path(script).with_suffix(".json")
    text = json.dumps({**record, "machine": machine()}, indent=2) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    print(text)
