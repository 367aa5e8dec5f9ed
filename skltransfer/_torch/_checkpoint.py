"""The state of a training run in a file, so that an interrupted one can go on."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import torch
import xxhash

from skltransfer._files import check_stored, write_whole
from skltransfer._messages import first_line
from skltransfer._processes import current_group, is_first
from skltransfer._warnings import warn

# What a file ends with, before its check sum; another format has another one.
_MARK = b"skltransfer training 3\n"
_BLOCK = 2**20


class Checkpoint:
    """One file that holds all that training needs to go on as if it had not stopped.

    The file is written beside its name and then renamed, so that it is never half-written; it
    holds tensors and numbers only, and is read with ``weights_only=True``. Its last bytes are a
    check sum of the content and the key: a file that is damaged, or of another training, is not
    used. Where several processes train together, the first reads and writes it for all.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    key : str
        Stands for data, parameters and start of the training: another training has another file.
    """

    def __init__(self, folder: str | Path, key: str):
        self.path = Path(folder).expanduser() / f"{key}.pt"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._key = key.encode()
        self._has_failed = False

    def attach(self, module, optimizer, schedule, batches, best, average, scaler) -> None:
        """Say what is to be saved."""
        self._module, self._optimizer, self._schedule = module, optimizer, schedule
        self._streams = batches.streams
        self._best, self._average, self._scaler = best, average, scaler
        self._device = batches.device

    def save(self, history: list[dict], best_loss: float, since_best: int, best_epoch) -> None:
        """Write the state after an epoch; warn, once, if the file cannot be written."""
        group, chance = current_group(), [_state_of_chance(self._device)]
        if group is not None:
            chance = group.gathered(chance[0])
            if not group.is_first:
                return
        state = {
            "module": self._module.state_dict(),
            "optimizer": _without_numpy(self._optimizer.state_dict()),
            "schedule": self._schedule and _without_numpy(self._schedule.state_dict()),
            "streams": [(s._rest, s.generator and s.generator.get_state()) for s in self._streams],
            "random": chance,
            "best": self._best.kept,
            "average": self._average and self._average.average,
            "scaler": self._scaler and self._scaler.state_dict(),
            "progress": _without_numpy((history, best_loss, since_best, best_epoch)),
        }
        try:
            with write_whole(self.path) as temporary, temporary.open("wb") as file:
                _Writer(file, self._key).save(state)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                warn(
                    f"The checkpoint {self.path} cannot be written ({_reason(error)}): training "
                    "goes on, and could not be continued after an interruption. Make room, or set "
                    "checkpoint to another folder.",
                    RuntimeWarning,
                )

    def load(self) -> tuple | None:
        """Put the state of the file back; return the progress, or None if there is no file."""
        group = current_group()
        state = self._state() if group is None or group.is_first else None
        if group is not None:
            state = group.of_first(state)
        if state is None:
            return None
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        for stream, (rest, generator) in zip(self._streams, state["streams"], strict=True):
            stream._rest = rest
            if stream.generator is not None:
                stream.generator.set_state(generator)
        random, cuda_random = state["random"][0 if group is None else group.rank]
        torch.set_rng_state(random)
        if cuda_random is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(cuda_random, self._device)
        for tensor, value in zip(self._best.kept, state["best"], strict=True):
            tensor.copy_(value)
        if self._average is not None:
            for tensor, value in zip(self._average.average, state["average"], strict=True):
                tensor.copy_(value)
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        return state["progress"]

    def _state(self) -> dict | None:
        """Return the content of the file, None if there is none that can be used."""
        if not self.path.is_file():
            return None
        try:
            return self._read()
        except Exception as error:  # torch raises many kinds for damaged files
            warn(
                f"The checkpoint {self.path} cannot be read ({_reason(error)}): training starts "
                "anew. Delete the file to be rid of this warning.",
                RuntimeWarning,
            )
            return None

    def _read(self) -> dict:
        with self.path.open("rb") as file:
            digest = xxhash.xxh3_128()
            n_bytes = os.fstat(file.fileno()).st_size
            n_left = n_bytes - len(_MARK) - digest.digest_size
            while n_left > 0 and (block := file.read(min(_BLOCK, n_left))):
                digest.update(block)
                n_left -= len(block)
            if n_left or file.read(len(_MARK)) != _MARK:
                raise ValueError("it is incomplete, or was written by another version")
            digest.update(self._key)
            if file.read() != digest.digest():
                raise ValueError("it is damaged, or the file of another training")
            with ZipFile(file) as archive:
                check_stored(archive, n_bytes)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)

    def remove(self) -> None:
        """Delete the file: the training is done."""
        if not is_first():
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warn(
                f"The checkpoint {self.path} cannot be deleted ({_reason(error)}). Delete it, or "
                "the same fit does not start anew.",
                RuntimeWarning,
            )


class _Writer:
    """Write a state to a file and a check sum behind it."""

    def __init__(self, file, key: bytes):
        self._file, self._key, self._digest = file, key, xxhash.xxh3_128()
        self._error: BaseException | None = None

    def save(self, state) -> None:
        try:
            torch.save(state, self)
        except RuntimeError:
            if self._error is not None:  # torch puts its own complaint in the place of an error
                raise self._error from None
            raise
        self._digest.update(self._key)
        self._file.write(_MARK + self._digest.digest())

    def write(self, block) -> int:
        try:
            self._file.write(block)
        except BaseException as error:
            self._error = error
            raise
        self._digest.update(block)
        return len(block)

    def flush(self) -> None:
        self._file.flush()


def _state_of_chance(device: torch.device) -> tuple:
    """Return the states of torch's generators, of the CPU and of a GPU if there is one."""
    is_cuda = device.type == "cuda"
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if is_cuda else None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)


def _without_numpy(value):
    """Return a value with Python's numbers for numpy's, which ``weights_only`` would refuse."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _without_numpy(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_without_numpy(entry) for entry in value)
    return value
