"""What the package and each extra bring along: packages, megabytes to download and on disk.

The packages are those of the environment that runs this, with all that they require; what it lacks
is left out. Sizes on disk are those of the installed files. Sizes of downloads are those of wheels:

    pip download --only-binary :all: --dest WHEELS "skltransfer[all]"
    pip download --no-deps --dest CPU torch --index-url https://download.pytorch.org/whl/cpu

The package index has torch for CUDA, which requires NVIDIA's libraries. The rows "cpu" have the
wheel of torch's CPU build in the place of these; torchvision is the index' one in both.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks._measure import ROOT, make_parser, write

NEEDS = ("packaging",)
CLAIMS = [
    {
        "claim": "the package with all it requires on disk, torch's CPU build",
        "beside": "limit",
        "value": ["rows", {"extra": "", "torch": "cpu"}, "disk_mb"],
        "at_most": 1000,
        "unit": "MB",
    },
    {
        "claim": "the same, to download",
        "beside": "limit",
        "value": ["rows", {"extra": "", "torch": "cpu"}, "download_mb"],
        "at_most": 1000,
        "unit": "MB",
    },
]
# Not for users: peers of the benchmarks, tests, and this documentation.
LEFT_OUT = {"bench", "test", "docs"}
FOR_CUDA = re.compile(r"(nvidia|cuda)-.*|triton")
MEGA = 1e6


def closure(requirements: list[str]) -> set[str]:
    """Return the names of all packages that some requirements bring along."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in distribution(name).requires or []:
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in found}


def required_by(project: dict, extra: str) -> list[str]:
    """Return what the package requires with an extra, extras of its own resolved."""
    own = project["optional-dependencies"]
    listed = list(own[extra]) if extra else []
    requirements = list(project["dependencies"])
    while listed:
        requirement = Requirement(listed.pop())
        if requirement.name == project["name"]:
            listed += [text for name in requirement.extras for text in own[name]]
        else:
            requirements.append(str(requirement))
    return requirements


def on_disk(name: str) -> int:
    """Return the bytes of a package's installed files."""
    paths = [Path(file.locate()) for file in distribution(name).files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def to_download(names: set[str], wheels: Path | None) -> int | None:
    """Return the bytes of the wheels of packages, or None where one is not in the folder."""
    if wheels is None:
        return None
    sizes = {}
    for path in wheels.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        sizes[canonicalize_name(name), version] = path.stat().st_size
    wanted = [(name, distribution(name).version.replace("-", "_")) for name in names]
    lacking = [pair for pair in wanted if pair not in sizes]
    if lacking:
        print("no wheel of", lacking)
    return None if lacking else sum(sizes[pair] for pair in wanted)


def rows(project: dict, wheels: Path | None, cpu_torch: Path | None) -> list[dict]:
    """Return a row for the package and each extra, by the build of torch."""
    result = []
    extras = sorted(set(project["optional-dependencies"]) - LEFT_OUT - {"all"})
    alone = closure(required_by(project, ""))
    for extra in ["", *extras, "all"]:
        try:
            names = closure(required_by(project, extra))
        except PackageNotFoundError as error:
            print(f"left out: {extra}, for {error.name} is not installed")
            continue
        without_torch = {n for n in names if not FOR_CUDA.fullmatch(n) and n != "torch"}
        for torch, chosen in (("cuda", names), ("cpu", without_torch)):
            disk, download = sum(map(on_disk, chosen)), to_download(chosen, wheels)
            if torch == "cpu":
                if cpu_torch is None:
                    continue
                with ZipFile(cpu_torch) as wheel:
                    disk += sum(member.file_size for member in wheel.infolist())
                download = None if download is None else download + cpu_torch.stat().st_size
            result.append(
                {
                    "extra": extra,
                    "torch": torch,
                    "packages": len(chosen) + (torch == "cpu"),
                    "further_packages": len(names - alone),
                    "disk_mb": round(disk / MEGA),
                    "download_mb": None if download is None else round(download / MEGA),
                }
            )
    return result


def main() -> None:
    """Measure and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--wheels", type=Path, help="folder of the wheels")
    parser.add_argument("--cpu-torch", type=Path, help="wheel of torch's CPU build")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheels = None if options.quick else options.wheels
    record = {
        "torch's CPU build": options.cpu_torch and options.cpu_torch.name,
        "rows": rows(project, wheels, options.cpu_torch),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main()
