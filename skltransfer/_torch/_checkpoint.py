"""The state of a training run in a file, so that an interrupted one can go on."""

from __future__ import annotations

from pathlib import Path

import torch

from skltransfer._files import write_whole
from skltransfer._warnings import warn


class Checkpoint:
    """One file that holds all that training needs to go on as if it had not stopped.

    The file is written beside its name and then renamed, so that it is never half-written; it
    holds tensors and numbers only, and is read with ``weights_only=True``.

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

    def attach(self, module, optimizer, schedule, batches, best, average, scaler) -> None:
        """Say what is to be saved."""
        self._module, self._optimizer, self._schedule = module, optimizer, schedule
        self._streams = batches.streams
        self._best, self._average, self._scaler = best, average, scaler
        self._device = batches.device

    def save(self, history: list[dict], best_loss: float, since_best: int, best_epoch) -> None:
        """Write the state after an epoch."""
        state = {
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule and self._schedule.state_dict(),
            "streams": [(s._rest, s.generator and s.generator.get_state()) for s in self._streams],
            "random": torch.get_rng_state(),
            "best": self._best.kept,
            "average": self._average and self._average.average,
            "scaler": self._scaler and self._scaler.state_dict(),
            "progress": (history, best_loss, since_best, best_epoch),
        }
        if self._device.type == "cuda":
            state["cuda_random"] = torch.cuda.get_rng_state(self._device)
        with write_whole(self.path) as temporary:
            torch.save(state, temporary)

    def load(self) -> tuple | None:
        """Put the state of the file back; return the progress, or None if there is no file."""
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for damaged files
            warn(
                f"The checkpoint {self.path} cannot be read ({type(error).__name__}): training "
                "starts anew. Delete the file to be rid of this warning.",
                RuntimeWarning,
            )
            return None
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        for stream, (rest, generator) in zip(self._streams, state["streams"], strict=True):
            stream._rest = rest
            if stream.generator is not None:
                stream.generator.set_state(generator)
        torch.set_rng_state(state["random"])
        if "cuda_random" in state and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"], self._device)
        for tensor, value in zip(self._best.kept, state["best"], strict=True):
            tensor.copy_(value)
        if self._average is not None:
            for tensor, value in zip(self._average.average, state["average"], strict=True):
                tensor.copy_(value)
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        return state["progress"]

    def remove(self) -> None:
        """Delete the file: the training is done."""
        self.path.unlink(missing_ok=True)
