"""Finished fits of a comparison in a folder, so that a killed comparison can go on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from skltransfer._files import write_whole
from skltransfer._messages import first_line
from skltransfer._warnings import warn
from skltransfer.model_selection._results import FoldFit

_FORMAT = 1
_NAME = "comparison.json"


class FitFolder:
    """A folder with a file for each finished fit: numbers and texts only.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    key : dict of str to (str or dict)
        Stands for data and settings. A folder with another key is refused.

    Raises
    ------
    ValueError
        If the folder holds another comparison; the message names what differs.
    """

    def __init__(self, folder, key: dict):
        self.path, self._has_failed = Path(folder).expanduser(), False
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"checkpoint={str(folder)!r} is a file. Pass the path of a folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        key = {"format": _FORMAT, **key}
        record = self.path / _NAME
        if record.is_file():
            self._check(record, key)
        else:
            with write_whole(record) as temporary:
                temporary.write_text(json.dumps(key, indent=1), encoding="utf-8")

    def _check(self, record: Path, key: dict) -> None:
        remedy = "Pass another folder, or delete this one."
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            names = [*key, *(name for name in found if name not in key)]
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"checkpoint={str(self.path)!r}: {_NAME} cannot be read ({first_line(error)}). "
                f"{remedy}"
            ) from error
        other = [name for name in names if found.get(name) != key.get(name)]
        if other:
            raise ValueError(
                f"checkpoint={str(self.path)!r} holds a comparison with other values of "
                f"{', '.join(other)}. {remedy}"
            )

    def _file(self, job) -> Path:
        digest = hashlib.sha256(job.strategy.encode()).hexdigest()[:16]
        return self.path / f"{digest}-{job.n_labels or 'all'}-{job.fold}.npz"

    def load(self, job) -> FoldFit | None:
        """Return the fit of a job, None if it is not there."""
        path = self._file(job)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                texts = json.loads(str(file["texts"]))
                arrays = {name: file[name] for name in ("values", "outputs") if name in file}
                return FoldFit(
                    float(file["score"]), seconds=float(file["seconds"]), **arrays, **texts
                )
        except Exception as error:  # numpy raises many kinds for damaged files
            warn(
                f"The file {path} of the checkpoint cannot be read ({first_line(error)}), and the "
                "fit is made again.",
                RuntimeWarning,
            )
            return None

    def store(self, job, fit: FoldFit) -> None:
        """Write the fit of a job; warn, once, if it cannot be written."""
        arrays = {"values": fit.values, "outputs": fit.outputs}
        texts = json.dumps({"failure": fit.failure, "remarks": fit.remarks})
        try:
            with write_whole(self._file(job)) as temporary:
                np.savez(
                    temporary,
                    score=fit.score,
                    seconds=fit.seconds,
                    texts=texts,
                    **{name: array for name, array in arrays.items() if array is not None},
                )
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                warn(
                    f"The checkpoint {self.path} cannot be written ({first_line(error)}): the "
                    "comparison goes on, and could not be continued after an interruption. Make "
                    "room, or set checkpoint to another folder.",
                    RuntimeWarning,
                )
