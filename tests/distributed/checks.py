"""Checks on a cluster, in a process of their own that takes the cluster with it.

Clusters leave threads, processes and warnings behind, which would become errors of other tests.
"""

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names_of(module):
    """Return the names of a module's checks."""
    return [name for name in vars(module) if name.startswith("check_")]


def run_in_process(command, folder, timeout=600, **variables):
    """Run Python in a folder, and return its exit code and what it has said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            text, _ = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, text


def results_of(module, folder, **variables):
    """Run all checks of a module; return their errors by name, empty where all is well."""
    command = ["-m", "tests.distributed.checks", module.__name__, str(folder)]
    _, text = run_in_process(command, folder, **variables)
    file = folder / "results.json"
    assert file.is_file(), text
    return json.loads(file.read_text())


def main(name, folder):
    """Start the cluster of a module, make its checks, and write what came out."""
    module, results = importlib.import_module(name), {}
    with module.cluster() as cluster:
        for check in names_of(module):
            function = getattr(module, check)
            with tempfile.TemporaryDirectory(dir=folder) as place:
                known = {"cluster": cluster, "folder": Path(place)}
                names = inspect.signature(function).parameters
                try:
                    function(**{name: known[name] for name in names})
                    results[check] = ""
                except Exception:
                    results[check] = traceback.format_exc()
    Path(folder, "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
