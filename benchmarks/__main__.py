"""List the claims, write their table, or run all scripts at small sizes.

python -m benchmarks
python -m benchmarks --table
python -m benchmarks --quick [--output FOLDER] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks._claims import Script, scripts, table
from benchmarks._measure import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- written by python -m benchmarks --table -->\n", "<!-- end of the table -->\n"


def page() -> str:
    """Return the page of the docs with the table that the committed JSON files give."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n\n{END}{after}"


def show(every: list[Script]) -> None:
    """Print every script with its claims."""
    for script in every:
        print(f"{script.name}: {script.title}")
        for claim in script.claims:
            met = "   " if claim.is_met else "NO "
            print(f"  {met}{claim.text}, beside {claim.beside}: {claim.asked}, {claim.measured}")


def missing(script: Script, data: Path) -> list[str]:
    """Return the packages and folders of data that a script needs and that are absent."""
    packages = [name for name in script.needs if find_spec(name) is None]
    return packages + [name for name in script.data if not (data / name).is_dir()]


def run_quickly(every: list[Script], data: Path, output: Path | None) -> int:
    """Run scripts at small sizes, one after the other; return the number that failed."""
    output = output or Path(tempfile.mkdtemp(prefix="benchmarks-"))
    n_failed, start = 0, time.perf_counter()
    for script in every:
        if absent := missing(script, data):
            print(f"{script.name}: skipped: needs {', '.join(absent)}", flush=True)
            continue
        folder = output / Path(script.name).parent
        command = [sys.executable, "-m", script.module, "--quick", "--output", str(folder)]
        if script.data:
            command += ["--data", str(data)]
        started = time.perf_counter()
        run = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if run.returncode:
            n_failed += 1
            print(f"{script.name}: FAILED after {seconds:.0f} s, exit status {run.returncode}")
            print(run.stderr, flush=True)
        else:
            print(f"{script.name}: ran in {seconds:.0f} s", flush=True)
    print(f"{time.perf_counter() - start:.0f} s in all; records are in {output}")
    return n_failed


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--table", action="store_true", help="write the table of docs/benchmarks.md")
    what.add_argument(
        "--quick", action="store_true", help="run what can run here, at small sizes; judge no claim"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where --quick writes")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="the shared data"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="scripts, such as speed/kmm")
    options = parser.parse_args(arguments)
    every = scripts()
    if options.only:
        known = {script.name: script for script in every}
        if unknown := set(options.only) - known.keys():
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        every = [known[name] for name in options.only]
    if options.table:
        PAGE.write_text(page())
    elif options.quick:
        output = options.output and options.output.resolve()
        return min(run_quickly(every, options.data.resolve(), output), 1)
    else:
        show(every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
