"""Training: every estimator that learns by gradient runs through here, in steps or at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skltransfer._blas import one_blas_thread
from skltransfer._messages import first_line
from skltransfer._processes import current_group
from skltransfer._torch._checkpoint import Checkpoint
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._optimizers import Schedule
from skltransfer._warnings import warn

# A loss beyond this multiple of the first epoch's will not come back.
_LARGEST_GROWTH = 1e6


@dataclass
class Training:
    """What a run of :func:`train` did.

    Parameters
    ----------
    history : list of dict
        One record an epoch: ``epoch``, ``train_loss``, the mean of each term of the loss by its
        name where there are several, the means of what is recorded beside, ``valid_loss`` where
        there is a validation split, ``lr_NAME`` of each parameter group at the last step,
        ``seconds``.
    best_epoch : int or None
        Epoch (from 1) whose weights were restored.
    """

    history: list[dict] = field(default_factory=list)
    best_epoch: int | None = None


class Terms(dict):
    """Terms of a loss by name, and numbers that are only recorded.

    Parameters
    ----------
    terms : dict of str to Tensor
        See :func:`total_loss`.
    recorded : dict of str to Tensor
        Scalars for the history, which are not minimised.
    """

    def __init__(self, terms: dict, recorded: dict[str, torch.Tensor]):
        super().__init__(terms)
        self.recorded = recorded


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
    """Exponential moving average of parameters; buffers keep the values of the last step."""

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


class _Progress:
    """Which weights training ends with, and when.

    Parameters
    ----------
    module : Module
    validates : bool
        Whether losses come from a validation split.
    patience : int or None
    """

    def __init__(self, module: nn.Module, validates: bool, patience: int | None):
        self.patience = patience
        self.best, self.best_loss, self.best_epoch = Weights(module), math.inf, None
        # A validation loss is computed after an epoch, with the weights of that moment. A training
        # loss is the mean over the steps of the epoch: it says most about the weights with which
        # the epoch began, so that these are kept for one epoch.
        self.last = None if validates else Weights(module)
        self.since_best, self._first_loss = 0, None

    def is_over(self) -> bool:
        """Tell whether the patience is used up."""
        return self.patience is not None and self.since_best >= self.patience

    def diverges(self, loss: float, train_loss: float) -> bool:
        """Tell whether a loss is not finite, or will not come back."""
        if self._first_loss is None:
            self._first_loss = abs(train_loss)
        return not (math.isfinite(loss) and loss <= _LARGEST_GROWTH * max(1.0, self._first_loss))

    def note(self, epoch: int, loss: float) -> None:
        """Take note of the loss of an epoch (from 0) that has ended."""
        self.since_best += 1
        if loss < self.best_loss:
            self.best_loss, self.since_best = loss, 0
            if self.last is None:
                self.best.keep()
                self.best_epoch = epoch + 1
            else:  # the weights at the start of this epoch: exchanged, as `last` is overwritten
                self.best.kept, self.last.kept = self.last.kept, self.best.kept
                self.best_epoch = epoch or None
        if self.last is not None:
            self.last.keep()

    def settle(self, n_epochs: int, is_diverged: bool) -> int | None:
        """Put the weights back that training ends with, and return their epoch."""
        # No loss has been computed with the weights after the last step: they may be broken
        # although all losses were fine.
        if is_diverged or not self.best.is_finite():
            self.best.restore()
            _warn_of_divergence(n_epochs + is_diverged, self.best_epoch)
        elif self.last is None and self.best_epoch is not None:
            self.best.restore()
        elif n_epochs:  # without a validation split the last weights are the best known
            self.best_epoch = n_epochs
        return self.best_epoch


def train(
    module: nn.Module,
    objective: Callable,
    batches,
    *,
    optimizer: torch.optim.Optimizer,
    n_epochs: int,
    schedule: Schedule | None = None,
    advance: Callable[[float], None] | None = None,
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

    Where several processes train together, each passes its part of every batch through the module,
    as one of several passes, and gradients are averaged over the samples of all.

    Parameters
    ----------
    module : Module
        Trained in place; in evaluation mode afterwards.
    objective : callable
        ``objective(module, batch)`` returns the terms of the loss by name, see
        :func:`total_loss`.
    batches : iterable
        Batches of one domain, of two domains, or episodes. What is asked of it:

        - ``iter(batches)`` yields the batches of one epoch, each time anew, in an order that is
          drawn from its streams alone;
        - ``len(batches)`` is the number of batches of each epoch;
        - ``batches.device`` is the device of the module and of the batches;
        - ``batches.streams`` is a list of :class:`IndexStream`, whose state a checkpoint holds.

        A batch has a length, the number of its samples; ``weights``, the relative weights of the
        samples or None; and ``split(n_parts)``, which returns it as at most so many batches.
    optimizer : torch.optim.Optimizer
        Its groups may have ``names`` for the history: pairs of a name and how many of the group's
        parameters, in their order, it stands for.
    n_epochs : int
        Largest number of passes.
    schedule : Schedule, optional
    advance : callable, optional
        Called before each step with the part of all steps that are done.
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
        Returns the loss on samples that are not trained on. The best epoch's weights are restored.
    patience : int, optional
        Epochs without a better validation loss before training ends.
    reports : object, optional
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
    training, is_diverged, first_epoch = Training(), False, 0
    if (group := current_group()) is not None:
        reports = reports if group.is_first else None
        _part_with_chance(group.rank)
    progress = _Progress(module, validate is not None, patience)
    average = None if ema_decay is None else MovingAverage(module, ema_decay)
    step = _Step(module, objective, optimizer, clip_norm, n_passes, autocast, batches.device)
    if checkpoint is not None:
        state = (module, optimizer, schedule, batches, progress.best, average, step.scaler)
        checkpoint.attach(*state)
        resumed = checkpoint.load()
        if resumed is not None:
            training.history, progress.best_loss, progress.since_best, progress.best_epoch = resumed
            first_epoch = n_epochs if progress.is_over() else len(training.history)
            if (last := progress.last) is not None:
                last.keep() if average is None else average.shown(last.keep)
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
            for batch in batches if group is None else group.parts(batches):
                if schedule is not None:
                    schedule.before_step()
                if advance is not None:
                    advance((epoch + len(losses) / len(batches)) / n_epochs)
                losses.append(step(batch))
                sizes.append(len(batch))
                if penalty is not None:
                    penalty.pull(optimizer)
                if average is not None:
                    average.update()
            record = {"epoch": epoch + 1, **_means(losses, sizes)}
            if group is not None:
                group.average_buffers(module)
            if penalty is not None:
                penalty.settle(optimizer)
            if average is not None:  # between epochs the weights are the average
                average.swap()
            module.eval()
            loss = train_loss = record["train_loss"]
            if validate is not None and math.isfinite(loss):
                loss = record["valid_loss"] = validate()
            if progress.diverges(loss, train_loss):
                is_diverged = True
                break
            progress.note(epoch, loss)
            if schedule is not None:
                schedule.after_epoch(loss)
            record |= _rates_in_force(optimizer)
            record["seconds"] = time.perf_counter() - started
            training.history.append(record)
            is_last = epoch + 1 == n_epochs or progress.is_over()
            is_last = bool(reports is not None and reports.end(record)) or is_last
            if is_last if group is None else group.of_first(is_last):
                break
            if average is not None:  # the steps go on from the weights of the last one
                average.swap()
            if checkpoint is not None:
                best = (progress.best_loss, progress.since_best, progress.best_epoch)
                checkpoint.save(training.history, *best)
    training.best_epoch = progress.settle(len(training.history), is_diverged)
    module.eval()
    optimizer.zero_grad()
    if checkpoint is not None:
        checkpoint.remove()
    return training


def _means(losses: list[dict[str, torch.Tensor]], sizes: list[int]) -> dict[str, float]:
    """Return the means of the losses of batches, by name."""
    names = list(losses[0])
    # At once: one kernel, and one wait for the device.
    values = torch.stack([loss[name] for loss in losses for name in names]).tolist()
    values = np.reshape(values, (len(losses), len(names)))
    if (group := current_group()) is None:
        means = np.average(values, axis=0, weights=sizes)
    else:
        *sums, n_samples = group.total(np.array([*(sizes @ values), sum(sizes)]))
        means = np.array(sums) / n_samples
    return dict(zip(names, means.tolist(), strict=True))


def _part_with_chance(rank: int) -> None:
    """Let dropout and augmentation of another process than the first draw other numbers."""
    if rank:
        torch.manual_seed(int(torch.randint(2**62, (rank,))[-1]))


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


def _warn_of_divergence(epoch: int, best_epoch: int | None) -> None:
    kept = "as they were at the start" if best_epoch is None else f"from epoch {best_epoch}"
    warn(
        f"The loss diverges in epoch {epoch}: training stops, and the weights are {kept}. "
        "Lower lr, set clip_norm (for example to 1.0), or use precision='float32'.",
        ConvergenceWarning,
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

    def __call__(self, batch) -> dict[str, torch.Tensor]:
        """Step, and return the losses of the batch, without waiting for the device."""
        losses = self._backward(batch)
        if (group := current_group()) is not None:
            group.average_gradients(self._parameters, len(batch))
        if self.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def _backward(self, batch) -> dict[str, torch.Tensor]:
        while True:
            self._forget_gradients()
            try:
                return self._in_passes(batch)
            except torch.OutOfMemoryError as error:
                if self.n_passes >= len(batch):
                    raise
                message = first_line(error)
            # Outside the handler, whose traceback would hold the tensors of the failed pass.
            self.n_passes *= 2
            self._forget_gradients()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            warn(
                f"{self.device} has no memory for {-(-len(batch) * 2 // self.n_passes)} rows at "
                f"once ({message}): each batch now goes through in {self.n_passes} passes, whose "
                "gradients are added. Lower batch_size, or raise accumulate, to be rid of this.",
                RuntimeWarning,
            )

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:  # the optimizer's own method takes ten times as long
            parameter.grad = None

    def _in_passes(self, batch) -> dict[str, torch.Tensor]:
        if self.n_passes == 1:
            return self._pass(batch, 1.0)
        totals: dict[str, torch.Tensor] = {}
        for part in batch.split(min(self.n_passes, len(batch))):
            share = len(part) / len(batch)
            for name, loss in self._pass(part, share).items():
                totals[name] = totals.get(name, 0.0) + share * loss
        return totals

    def _pass(self, batch, share: float) -> dict[str, torch.Tensor]:
        with self._arithmetic:
            terms = self.objective(self.module, batch)
            loss = total_loss(terms, batch)
            part = loss if share == 1.0 else loss * share
        (part if self.scaler is None else self.scaler.scale(part)).backward()
        return {"train_loss": loss.detach()} | means_of_terms(terms, batch)


def total_loss(terms: dict[str, torch.Tensor], batch) -> torch.Tensor:
    """Add the terms of an objective up to one number to be minimised.

    A term is a scalar, taken as it is, or holds the loss of each sample, shape (n,). These are
    added sample by sample, weighted by ``batch.weights``, and divided by their number. Weights are
    relative to the mean weight of all samples, and the divisor is not the sum of weights. The
    expected step is therefore the step of the weighted objective. With two domains the samples of
    the source come first and may stand alone.
    """
    terms = iter(terms.values())
    total = next(terms)
    for term in terms:
        if term.ndim == 0:
            total = _mean(total, batch)
        elif total.ndim == 0 and batch.weights is not None:
            term = _mean(term, batch)
        total = total + term
    return _mean(total, batch)


def _mean(losses: torch.Tensor, batch) -> torch.Tensor:
    if losses.ndim == 0:
        return losses
    weights = batch.weights
    if weights is None:
        return losses.mean()
    return (losses * weights[: len(losses)]).sum() / len(losses)


def means_of_terms(terms: dict[str, torch.Tensor], batch) -> dict[str, torch.Tensor]:
    """Return the mean of each term and each recorded number.

    A loss of one term has no further means.
    """
    recorded = getattr(terms, "recorded", {})
    if len(terms) == 1:
        return recorded
    return {name: _mean(term.detach(), batch) for name, term in terms.items()} | recorded


def train_full_batch(
    module: nn.Module,
    objective: Callable,
    batches,
    *,
    parameters: list[nn.Parameter],
    n_iterations: int,
    tol: float,
    is_convex: bool,
    freezing=None,
    penalty=None,
    n_passes: int = 1,
    reports=None,
) -> Training:
    """Minimise the objective over all rows by scipy's L-BFGS-B.

    Where several processes train together, the first does so, and the others take its result.

    Parameters
    ----------
    module : Module
        Trained in place; in evaluation mode afterwards.
    objective : callable
        As for :func:`~skltransfer._torch._training.train`.
    batches : iterable
        Yields one batch: all rows.
    parameters : list of Parameter
        What is trained.
    n_iterations : int
        Largest number of iterations; each is an epoch of the history.
    tol : float
        Largest entry of the gradient at the end.
    is_convex : bool
        Whether there is one optimum, so that to stop before it is worth a warning.
    freezing, n_passes, reports
        As for :func:`~skltransfer._torch._training.train`.
    penalty : object, optional
        ``add_gradient()`` adds to the gradients in place and returns the value added to the loss;
        ``scales(parameters)`` are units in which L-BFGS works, so that a strong penalty does not
        slow it down.

    Returns
    -------
    Training

    Warns
    -----
    ConvergenceWarning
        If the loss is not finite, or the iterations do not reach `tol` in a convex problem.
    """
    group, training = current_group(), None
    if group is None or group.is_first:
        training = _minimize(
            module,
            objective,
            batches,
            parameters,
            n_iterations=n_iterations,
            tol=tol,
            is_convex=is_convex,
            freezing=freezing,
            penalty=penalty,
            n_passes=n_passes,
            reports=reports,
        )
    module.eval()
    if group is not None:
        group.copy_first(module)
        training = group.of_first(training)
    return training


def _minimize(
    module,
    objective,
    batches,
    parameters,
    *,
    n_iterations,
    tol,
    is_convex,
    freezing,
    penalty,
    n_passes,
    reports,
) -> Training:
    """Minimise in this process, see :func:`train_full_batch`."""
    training = Training()
    (batch,) = batches
    parts = batch.split(n_passes)
    sizes = [parameter.numel() for parameter in parameters]
    started, means, was_stopped = time.perf_counter(), {}, False
    units = 1.0
    if penalty is not None:
        units = torch.cat([unit.flatten() for unit in penalty.scales(parameters)])
        units = units.double().cpu().numpy()

    def load(vector: np.ndarray) -> None:
        flat = torch.from_numpy(vector * units).to(batches.device)
        with torch.no_grad():
            for parameter, piece in zip(parameters, flat.split(sizes), strict=True):
                parameter.copy_(piece.view_as(parameter))

    def evaluate(vector: np.ndarray):
        nonlocal means
        load(vector)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        value, means = 0.0, {}
        for part in parts:
            share = len(part) / len(batch)
            terms = objective(module, part)
            loss = total_loss(terms, part) * share
            loss.backward()
            value += float(loss.detach())
            for name, mean in means_of_terms(terms, part).items():
                means[name] = means.get(name, 0.0) + share * float(mean)
        if penalty is not None:
            value += penalty.add_gradient()
        gradient = torch.cat([parameter.grad.flatten() for parameter in parameters])
        return value, gradient.double().cpu().numpy() * units

    def after_iteration(intermediate_result) -> None:
        nonlocal started, was_stopped
        now = time.perf_counter()
        record = {
            "epoch": len(training.history) + 1,
            "train_loss": float(intermediate_result.fun),
            **means,  # of the last evaluation, which is the one that the iteration accepts
            "seconds": now - started,
        }
        started = now
        training.history.append(record)
        if reports is not None:
            load(intermediate_result.x)
            reports.begin()
            if reports.end(record):
                was_stopped = True
                raise StopIteration

    start = torch.cat([parameter.detach().flatten() for parameter in parameters])
    start = start.double().cpu().numpy() / units
    # The steps of L-BFGS are small, and torch's threads need the cores. torch may use MKL itself.
    with network_lock, one_blas_thread("openblas"):
        if freezing is None:
            module.train()
        else:
            freezing.apply(module, 0)
        result = minimize(
            evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": n_iterations,
                "maxfun": 20 * n_iterations,
                "maxcor": 20,
                "gtol": tol,
                "ftol": 0.0,
            },
        )
        is_finite = math.isfinite(result.fun) and np.isfinite(result.x).all()
        load(result.x if is_finite else start)
    for parameter in parameters:
        parameter.grad = None
    if not is_finite:
        warn(
            "The loss is not finite: the weights are as they were at the start. Scale the columns "
            "of X, or pass optimizer='adamw' with a low lr.",
            ConvergenceWarning,
        )
    elif (
        is_convex
        and result.nit >= n_iterations
        and not was_stopped
        and np.abs(result.jac).max() > tol
    ):
        warn(
            f"L-BFGS stopped after {result.nit} iterations at a gradient of "
            f"{np.abs(result.jac).max():.1e}, not tol={tol:.1e}. Raise max_epochs, raise "
            "weight_decay, or scale the columns of X.",
            ConvergenceWarning,
        )
    training.best_epoch = len(training.history) or None
    return training
