"""What the scripts share: options, interleaved timing, and records with machine and versions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
    "lmdb",
    "flwr",
    "dask",
    "ray",
    "accelerate",
    "pyarrow",
    "adversarial-robustness-toolbox",
)


def one_thread() -> None:
    """Let numerical libraries use one thread; call before they are imported."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"


def make_parser(doc: str, *, data: bool = False) -> argparse.ArgumentParser:
    """Return the command line that all scripts share.

    Parameters
    ----------
    doc : str
        Docstring of the script.
    data : bool, default=False
        Whether the script reads the shared data.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds, to see that it runs"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder of the record (default: beside the script; with --quick: a temporary one)",
    )
    if data:
        parser.add_argument(
            "--data", type=Path, default=Path("../shared/data"), help="folder of the shared data"
        )
    return parser


def rounds(n_rounds: int, options: argparse.Namespace) -> int:
    """Return the number of rounds, which is one in a quick run."""
    return 1 if options.quick else n_rounds


def interleave(contenders: dict, n_rounds: int) -> dict[str, dict]:
    """Run the contenders in turn, round by round, after one round that is not counted.

    Parameters
    ----------
    contenders : dict of str to callable
        Each takes no argument; the result of its last call is kept.
    n_rounds : int
        Number of rounds that are counted.

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


def in_columns(rows: list[dict], n_digits: int = 6) -> dict[str, list]:
    """Return records as the names of their columns and one flat list for each record.

    Parameters
    ----------
    rows : list of dict
        Values are strings, numbers, or dictionaries of numbers: ``{"gain": {"low": 0.1}}`` becomes
        the column ``"gain, low"``. A value that a record lacks becomes ``None``.
    n_digits : int, default=6
        Number of decimals that are kept.

    Returns
    -------
    table : dict
        ``columns`` and ``rows``.
    """
    flat = []
    for row in rows:
        cells = {}
        for name, value in row.items():
            parts = value if isinstance(value, dict) else {None: value}
            for part, number in parts.items():
                if isinstance(number, float):
                    number = round(number, n_digits)
                cells[name if part is None else f"{name}, {part}"] = number
        flat.append(cells)
    columns = list(dict.fromkeys(name for cells in flat for name in cells))
    return {"columns": columns, "rows": [[cells.get(name) for name in columns] for cells in flat]}


def as_json(record: dict) -> str:
    """Return a record as JSON with each innermost list on one line."""
    text = json.dumps(record, indent=2) + "\n"
    one_line = re.sub(
        r"\[\s+([^\[\]{}]*?)\s+\]",
        lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]",
        text,
    )
    if json.dumps(json.loads(one_line)) != json.dumps(json.loads(text)):
        return text  # a string of the record holds brackets and blanks
    return one_line


def output_folder(script: str, options: argparse.Namespace) -> Path:
    """Return the folder that a run writes to, which a quick run never shares with its script."""
    beside = Path(script).resolve().parent
    if not options.quick:
        return options.output or beside
    folder = options.output or Path(tempfile.mkdtemp(prefix="benchmarks-"))
    if (ROOT / "benchmarks").resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise SystemExit(f"--output {folder}: a quick run does not write beside committed records.")
    return folder


class Parts:
    """Results of the parts of a long script, kept in a file until its record is written.

    A script that was interrupted goes on where it was, and several processes may share the work.

    Parameters
    ----------
    script : str
        The script's ``__file__``.
    options : argparse.Namespace
        Parsed command line of the script (:func:`make_parser`).
    """

    def __init__(self, script: str, options: argparse.Namespace):
        name = Path(script).with_suffix(".part.jsonl").name
        self.path = output_folder(script, options) / name
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def get(self, key: list, compute) -> object:
        """Return the result that is known under a key, or compute and keep it."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        known = {json.dumps(key): result for key, result in map(json.loads, lines)}
        if json.dumps(key) not in known:
            result = compute()
            with self.path.open("a") as file:
                file.write(json.dumps([key, result]) + "\n")
            return json.loads(json.dumps(result))
        return known[json.dumps(key)]

    def close(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def write(script: str, record: dict, options: argparse.Namespace, **about_machine) -> None:
    """Write the record of a script as a whole JSON file, and print it.

    Parameters
    ----------
    script : str
        The script's ``__file__``.
    record : dict
        The measured numbers; machine and versions are added.
    options : argparse.Namespace
        Parsed command line of the script (:func:`make_parser`).
    **about_machine
        Corrections of the description of the machine, such as ``threads=2``.
    """
    folder = output_folder(script, options)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(script).with_suffix(".json").name
    text = as_json({**record, "machine": machine() | about_machine})
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    print(text, path, sep="")
