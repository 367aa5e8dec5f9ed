"""Check what is in the wheel and the sdist of a folder: ``python .ci/check_archives.py dist``."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Parts of the repository that only its developers on the web need.
BESIDE = (".gitignore",)


def main(folder: Path) -> None:
    """Compare the archives with the files of the repository, and print their sizes."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()

    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        metadata_name = next(name for name in files if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(metadata_name))
    package = {name for name in files if ".dist-info/" not in name}
    expected = {name for name in tracked if name.startswith("skltransfer/")}
    compare(wheel.name, package, expected)
    info = metadata_name.removesuffix("METADATA")
    for name in ("licenses/LICENSE", "entry_points.txt"):
        assert info + name in files, f"{wheel.name} lacks {name}"
    # What a release may never lack, whatever is tracked.
    for name in ("py.typed", "__init__.pyi", "backbones/weights/tiny.safetensors"):
        assert f"skltransfer/{name}" in package, f"{wheel.name} lacks {name}"

    with tarfile.open(sdist) as archive:
        members = {member.name for member in archive.getmembers() if member.isfile()}
    top = sdist.name.removesuffix(".tar.gz") + "/"
    files = {name.removeprefix(top) for name in members} - {"PKG-INFO", *BESIDE}
    compare(sdist.name, files, set(tracked) - set(BESIDE))

    assert f"-{metadata['Version']}-" in wheel.name
    assert sdist.name.endswith(f"-{metadata['Version']}.tar.gz")
    for path in (wheel, sdist):
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")


def compare(archive: str, found: set[str], expected: set[str]) -> None:
    """Raise an error that names what is missing or too much."""
    assert found == expected, (
        f"{archive} lacks {sorted(expected - found)} and should not have {sorted(found - expected)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
