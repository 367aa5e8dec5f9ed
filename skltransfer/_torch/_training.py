"""The one training loop: every estimator that learns by gradient runs through here."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skltransfer._torch._checkpoint import Checkpoint
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._optimizers import Schedule

# A loss beyond this multiple of the first epoch's will not come back.
_LARGEST_GROWTH = 1e6


@dataclass
class Training:
    """What a run of :func:`train` did.

    Parameters
    ----------
    history : list of dict
        One record an epoch: ``epoch``, ``train_loss``, ``valid_loss`` where there is a validation
        split, ``lr_NAME`` of each parameter group at the last step, ``seconds``.
    best_epoch : int or None
        Epoch (from 1) whose weights were restored.
    """

    history: list[dict] = field(default_factory=list)
    best_epoch: int | None = None


class Weights:
    """Copies of the tensors that training may move.

    Parameters
    ----------
    module : Module
    """

    def __init__(self, module: nn.Module):
        parameters = [parameter.detach() for parameter in module.parameters()]
        self.n_parameters = len(parameters)
        self.live = [*parameters, *(buffer.detach() for buffer in module.buffers())]
        self.kept = [tensor.clone() for tensor in self.live]

    def keep(self) -> None:
        """Copy the tensors as they are now."""
        _copy(self.kept, self.live)

    def restore(self) -> None:
        """Put the copies back."""
        _copy(self.live, self.kept)

    def is_finite(self) -> bool:
        """Tell whether all parameters are finite as they are now."""
        return all(bool(tensor.isfinite().all()) for tensor in self.live[: self.n_parameters])


@torch.no_grad()
def _copy(into: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    for a, b in zip(into, values, strict=True):
        a.copy_(b)


class MovingAverage:
    """Exponential moving average of parameters; buffers stay those of the last step."""

    def __init__(self, module: nn.Module, decay: float):
        self.live = [parameter.detach() for parameter in module.parameters()]
        self.average = [tensor.clone() for tensor in self.live]
        self._update = get_ema_multi_avg_fn(decay)

    def update(self) -> None:
        """Take the weights of one step in."""
        self._update(self.average, self.live, None)

    def swap(self) -> None:
        """Exchange the average and the weights of the last step."""
        current = [tensor.clone() for tensor in self.live]
        _copy(self.live, self.average)
        _copy(self.average, current)

    def shown(self, action: Callable[[], None]) -> None:
        """Do something while the weights are the average."""
        self.swap()
        action()
        self.swap()


def train(
    module: nn.Module,
    objective: Callable,
    batches,
    *,
    optimizer: torch.optim.Optimizer,
    n_epochs: int,
    schedule: Schedule | None = None,
    freezing=None,
    penalty=None,
    clip_norm: float | None = None,
    n_passes: int = 1,
    autocast: torch.dtype | None = None,
    ema_decay: float | None = None,
    validate: Callable[[], float] | None = None,
    patience: int | None = None,
    reports=None,
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Train a module by gradient steps.

    Parameters
    ----------
    module : Module
        Trained in place; in evaluation mode afterwards.
    objective : callable
        ``objective(module, batch)`` returns the loss of each row, shape (n,), which the loop
        weights by ``batch.weights`` and divides by the number of rows; or a scalar, taken as it is;
        or a pair of the two, which are added. Of two domains the rows are those of the source, then
        those of the target; or those of the source alone.
    batches : iterable
        Yields the batches of one epoch each time it is iterated, and has a length and a ``device``.
        A batch has a length and ``split(n_parts)``.
    optimizer : torch.optim.Optimizer
        Its groups may have ``names`` for the history: pairs of a name and how many of the group's
        parameters, in their order, it stands for.
    n_epochs : int
        Largest number of passes.
    schedule : Schedule, optional
    freezing : Freezing, optional
        ``apply(module, epoch)`` puts each part into training or evaluation mode before an epoch.
    penalty : object, optional
        ``pull(optimizer)`` moves the weights in place after each step, or notes that it is to be
        done; ``settle(optimizer)``, after each epoch, does what is left.
    clip_norm : float, optional
        Largest norm of the gradient of all parameters.
    n_passes : int, default=1
        Passes in which each batch goes through the network, their gradients added. Doubled, with a
        warning, when memory runs out.
    autocast : torch.dtype, optional
        Arithmetic of the network, with weights kept as they are: bfloat16 or float16.
    ema_decay : float, optional
        The weights become their exponential moving average over the steps.
    validate : callable, optional
        Returns the loss on rows that are not trained on. The best epoch's weights are restored.
    patience : int, optional
        Epochs without a better validation loss before training ends.
    reports : EpochReports, optional
        ``begin()`` is called before each epoch, ``end(record)`` after it; training ends when that
        returns True.
    checkpoint : Checkpoint, optional
        Written after each epoch; an earlier one is gone on from.

    Returns
    -------
    Training

    Warns
    -----
    ConvergenceWarning
        If the loss is not finite, or a million times the first: training stops, and the weights of
        the best epoch are restored; without `validate` those with which the epoch of the lowest
        training loss began.
    """
    training = Training()
    best = Weights(module)
    last = Weights(module) if validate is None else None
    best_loss, since_best, first_loss = math.inf, 0, None
    average = None if ema_decay is None else MovingAverage(module, ema_decay)
    step = _Step(module, objective, optimizer, clip_norm, n_passes, autocast, batches.device)
    first_epoch, is_diverged = 0, False
    if checkpoint is not None:
        checkpoint.attach(module, optimizer, schedule, batches, best, average, step.scaler)
        resumed = checkpoint.load()
        if resumed is not None:
            training.history, best_loss, since_best, training.best_epoch = resumed
            first_epoch = len(training.history)
            if last is not None:
                last.keep() if average is None else average.shown(last.keep)
            if _is_over(since_best, patience):
                first_epoch = n_epochs
    # Threads take turns: torch.fx, or another thread's random numbers, would get in between.
    with network_lock:
        for epoch in range(first_epoch, n_epochs):
            started = time.perf_counter()
            if reports is not None:
                reports.begin()
            if freezing is not None:
                freezing.apply(module, epoch)
            else:
                module.train()
            losses, sizes = [], []
            for batch in batches:
                if schedule is not None:
                    schedule.before_step()
                losses.append(step(batch))
                sizes.append(len(batch))
                if penalty is not None:
                    penalty.pull(optimizer)
                if average is not None:
                    average.update()
            loss = float(np.average(torch.stack(losses).tolist(), weights=sizes))
            record = {"epoch": epoch + 1, "train_loss": loss}
            if penalty is not None:
                penalty.settle(optimizer)
            if average is not None:
                average.swap()
            module.eval()
            first_loss = abs(loss) if first_loss is None else first_loss
            if validate is not None and math.isfinite(loss):
                loss = record["valid_loss"] = validate()
            if not (math.isfinite(loss) and loss <= _LARGEST_GROWTH * max(1.0, first_loss)):
                is_diverged = True
                break
            since_best += 1
            if loss < best_loss:
                best_loss, since_best = loss, 0
                if last is None:
                    best.keep()
                    training.best_epoch = epoch + 1
                else:  # a training loss is that of the weights before the epoch's steps
                    best.kept, last.kept = last.kept, best.kept
                    training.best_epoch = epoch or None
            if last is not None:
                last.keep()
            if schedule is not None:
                schedule.after_epoch(loss)
            record |= _rates_in_force(optimizer)
            record["seconds"] = time.perf_counter() - started
            training.history.append(record)
            is_last = epoch + 1 == n_epochs or _is_over(since_best, patience)
            is_last = bool(reports is not None and reports.end(record)) or is_last
            if is_last:
                break
            if average is not None:
                average.swap()
            if checkpoint is not None:
                checkpoint.save(training.history, best_loss, since_best, training.best_epoch)
    # The last step is in no loss that was computed.
    if is_diverged or not best.is_finite():
        best.restore()
        _warn_of_divergence(len(training.history) + is_diverged, training.best_epoch)
    elif validate is not None and training.best_epoch is not None:
        best.restore()
    elif training.history:
        training.best_epoch = len(training.history)
    module.eval()
    optimizer.zero_grad()
    if checkpoint is not None:
        checkpoint.remove()
    return training


def _rates_in_force(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the learning rate of each name in the groups; 0 where it is frozen."""
    rates = {}
    for group in optimizer.param_groups:
        parameters = iter(group["params"])
        for name, n in group.get("names", ()):
            named = list(islice(parameters, n))
            is_trained = any(parameter.requires_grad for parameter in named)
            rates[f"lr_{name}"] = group["lr"] if is_trained else 0.0
    return rates


def _is_over(since_best: int, patience: int | None) -> bool:
    return patience is not None and since_best >= patience


def _warn_of_divergence(epoch: int, best_epoch: int | None) -> None:
    kept = "those it started from" if best_epoch is None else f"those of epoch {best_epoch}"
    warnings.warn(
        f"The loss diverges in epoch {epoch}: training stops, and the weights are {kept}. "
        "Lower lr, set clip_norm (for example to 1.0), or use precision='float32'.",
        ConvergenceWarning,
        stacklevel=2,
    )


class _Step:
    """One step of the optimiser on one batch, in as many passes as memory asks for."""

    def __init__(self, module, objective, optimizer, clip_norm, n_passes, autocast, device):
        self.module, self.objective, self.optimizer = module, objective, optimizer
        self.clip_norm, self.n_passes, self.device = clip_norm, n_passes, device
        self._arithmetic = nullcontext()
        if autocast is not None:
            self._arithmetic = torch.autocast(device.type, autocast)
        self.scaler = None
        if autocast == torch.float16 and device.type == "cuda":
            self.scaler = torch.amp.GradScaler("cuda")
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(self, batch) -> torch.Tensor:
        """Step, and return the loss of the batch, without waiting for the device."""
        loss = self._backward(batch)
        if self.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss

    def _backward(self, batch) -> torch.Tensor:
        while True:
            self.optimizer.zero_grad()
            try:
                return self._in_passes(batch)
            except torch.OutOfMemoryError as error:
                if self.n_passes >= len(batch):
                    raise
                message = str(error).splitlines()[0] if str(error) else "out of memory"
            # Outside the handler, whose traceback would hold the tensors of the failed pass.
            self.n_passes *= 2
            self.optimizer.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            warnings.warn(
                f"{self.device} has no memory for {-(-len(batch) * 2 // self.n_passes)} rows at "
                f"once ({message}): each batch now goes through in {self.n_passes} passes, whose "
                "gradients are added. Lower batch_size, or raise accumulate, to be rid of this.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _in_passes(self, batch) -> torch.Tensor:
        if self.n_passes == 1:
            return self._pass(batch, 1.0)
        total = 0.0
        for part in batch.split(min(self.n_passes, len(batch))):
            total = total + self._pass(part, len(part) / len(batch))
        return total

    def _pass(self, batch, share: float) -> torch.Tensor:
        with self._arithmetic:
            loss = mean_loss(self.objective(self.module, batch), batch)
            if share != 1.0:
                loss = loss * share
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        return loss.detach()


def mean_loss(losses, batch) -> torch.Tensor:
    """Turn what an objective returns into one number to be minimised.

    Weights are relative to the mean weight of all rows and the divisor is the number of rows, not
    the weight of this batch, so that the expected step is that of the weighted objective.
    """
    if isinstance(losses, tuple):
        return mean_loss(losses[0], batch) + losses[1]
    if losses.ndim == 0:
        return losses
    weights = batch.weights
    if weights is None:
        return losses.mean()
    # Of two domains, an objective may give the losses of the rows of the source alone.
    return (losses * weights[: len(losses)]).sum() / len(losses)
