"""Fits of networks by several processes together."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from skltransfer._messages import require
from skltransfer._parameters import Count, Number
from skltransfer._processes import current_group, training_in


@dataclass(frozen=True)
class Processes:
    """The processes that run one script.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    world_size : int
        Number of processes.
    """

    rank: int
    world_size: int

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that reports and writes files."""
        return self.rank == 0


@contextmanager
def data_parallel(
    world_size: int | None = None, *, cpu: bool = False, timeout: float = 1800.0
) -> Iterator[Processes]:
    """Train the networks that are fitted inside the block by several processes together.

    The script is started once per device by ``torchrun``, and every process calls ``fit`` with the
    same arguments. Each passes its part of every batch through the network, and gradients are
    averaged over the samples of all. The steps are those of one process with the same `batch_size`,
    and all processes end with the same weights. Without ``torchrun`` the script is one process.

    Parameters
    ----------
    world_size : int, default=None
        Number of processes that there have to be. ``None`` takes those that there are.
    cpu : bool, default=False
        Whether processes talk to each other by Gloo on the CPU although there are GPUs. Estimators
        then need ``device="cpu"``.
    timeout : float, default=1800.0
        Longest time in seconds that processes wait for each other. It counts the first time that a
        script enters such a block.

    Yields
    ------
    processes : Processes
        ``rank``, ``world_size`` and ``is_first``, which is true in the process that saves the
        model.

    Raises
    ------
    ValueError
        If there are other than `world_size` processes. In ``fit``: if the processes were given
        other samples, labels or seeds, or a batch has fewer samples than there are processes.
    RuntimeError
        In ``fit``, if another process has failed or does not answer. ``torchrun`` ends all
        processes once one has failed, and prints its error.
    ImportError
        If accelerate is not installed.

    Notes
    -----
    The estimators of `parameter`, `relation` and `feature` that train a network divide their
    batches; everything else is computed by every process alone. Callbacks are called, and
    checkpoints written, by process 0, and warnings come from it alone. Features of frozen networks
    are computed in shares. What takes all samples at once (``optimizer="auto"`` on a small table,
    and a linear probe) is computed by process 0, and the others wait.

    A fit equals that of one process up to rounding: parts of a batch are passes whose gradients are
    added, as by ``accumulate=world_size``. It is another fit where a loss is no mean over samples:
    with batch normalisation that learns, which takes the statistics of each part
    (``norm_statistics="keep"`` and the default for pretrained networks do not), and with distances
    between the batches of two domains, of which the mean over the parts is minimised. Dropout and
    augmentation draw other numbers in each process. Running statistics are averaged after each
    epoch.

    Processes are found, and devices assigned to them, by accelerate [1]_. Gradients travel as one
    message per step, after the backward pass.

    References
    ----------
    .. [1] S. Gugger et al., "Accelerate: Training and inference at scale made simple, efficient and
       adaptable", 2022. https://github.com/huggingface/accelerate

    Examples
    --------
    The same lines run in one process, and under ``torchrun --nproc-per-node=2 script.py`` in two:

    >>> from sklearn.datasets import load_iris
    >>> from skltransfer import FineTunedClassifier
    >>> from skltransfer.distributed import data_parallel
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FineTunedClassifier(optimizer="adamw", lr=0.01, max_epochs=30)
    >>> with data_parallel() as processes:
    ...     model.fit(X, y)
    FineTunedClassifier(lr=0.01, max_epochs=30, optimizer='adamw')
    >>> bool(model.score(X, y) > 0.9)
    True
    """
    if world_size is not None:
        Count().check("world_size", world_size)
    Number(0, low_open=True).check("timeout", timeout)
    accelerate = require("accelerate", "distributed", "skltransfer.distributed.data_parallel")
    if current_group() is not None:
        raise RuntimeError("data_parallel is already in force: leave one block before the next.")
    import torch

    # accelerate has to be told of the CPU: without a GPU it takes each process for the only one.
    cpu = cpu or not torch.cuda.is_available()
    state = accelerate.PartialState(cpu=cpu, timeout=timedelta(seconds=timeout))
    processes = Processes(state.process_index, state.num_processes)
    started = int(os.environ.get("WORLD_SIZE", 1))
    if processes.world_size != started:
        raise RuntimeError(
            f"WORLD_SIZE={started}, and accelerate has found {processes.world_size} process(es). "
            "Enter data_parallel before anything else makes an accelerate.PartialState."
        )
    if world_size is not None and processes.world_size != world_size:
        raise ValueError(
            f"world_size={world_size}, and there are {processes.world_size} processes. Start the "
            f"script by: torchrun --nproc-per-node={world_size} {sys.argv[0] or 'script.py'}"
        )
    if processes.world_size == 1:
        yield processes
        return
    from skltransfer._torch._process_group import ProcessGroup

    group = ProcessGroup(processes.rank, processes.world_size, state.device)
    with ExitStack() as block:
        block.enter_context(training_in(group))
        block.enter_context(_error_told())
        if not processes.is_first:
            block.enter_context(_no_warnings())
        yield processes


@contextmanager
def _error_told() -> Iterator[None]:
    """Hand an error to ``torchrun``, whose summary then shows it."""
    try:
        yield
    except Exception as error:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
        raise


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep silent about what process 0 says as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
