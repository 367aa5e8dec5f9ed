"""The app of the server."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning

import skltransfer
from skltransfer._messages import require
from skltransfer._parameters import Choice, Count, Number
from skltransfer.federated._in_process import in_process
from skltransfer.federated._learners import N_EXAMPLES, Counts, learner_of

_STRATEGY = Choice("auto", "fedavg", "fedprox", "fedadmm")
_MU = Number(0, inf, high_open=True, unset=("auto",))
_ROUNDS, _CLIENTS = Count(unset=("auto",)), Count()
_POSITIVE = Number(0, inf, low_open=True, high_open=True)
_AUTO_ROUNDS = {"fedadmm": 200}


def server_app(
    estimator,
    *,
    n_clients,
    strategy: Any = "auto",
    n_rounds: int | str = "auto",
    proximal_mu: float | str = "auto",
    classes=None,
    feature_names: Sequence[str] | None = None,
    tol: float = 1e-9,
    timeout: float = 3600.0,
    save_to=None,
):
    r"""Make the app that brings the weights of all clients together.

    A round sends weights to every client, lets each of them train on its own samples, and takes the
    mean of the weights that come back, weighted by the counts of samples.

    Parameters
    ----------
    estimator : estimator
        ``TransferRidge`` or ``TransferLogisticRegression`` with a number for `alpha`, or a fitted
        ``FineTunedClassifier``, ``FineTunedRegressor``, ``RegularizedTransferClassifier`` or
        ``RegularizedTransferRegressor``. The source of a linear model, and the fitted network, are
        the start. A linear model without `source` starts at 0, and `source_alpha` is its penalty.
    n_clients : int
        Number of clients to wait for. These take part in every round, and those that come later
        do not.
    strategy : {"auto", "fedavg", "fedprox", "fedadmm"} or flwr Strategy, default="auto"
        ``"fedavg"`` is the mean of what clients learn from the server's weights [1]_. A linear
        model learns to its optimum. ``"fedprox"`` pulls each client to the server's weights
        [2]_, which is L2-SP with the server's model as the source. ``"fedadmm"`` gives each client
        an anchor of its own in their place, so that the clients agree on the optimum of all samples
        together [3]_, [4]_; it is for linear models. ``"auto"`` is ``"fedadmm"`` for these, and
        ``"fedprox"`` for networks. Another strategy of Flower is used as it is.
    n_rounds : int or "auto", default="auto"
        Number of rounds. ``"auto"`` is 10, and at most 200 for ``"fedadmm"``, which stops earlier.
    proximal_mu : float or "auto", default="auto"
        Strength :math:`\mu` of the pull, at least 0, relative to the mean loss of a client.
        ``"auto"`` is 1 for ``TransferRidge``, 0.3 for ``TransferLogisticRegression`` and 0.1 for
        networks. For ``"fedadmm"`` it decides how many rounds are needed, and not the result.
    classes : array-like of shape (n_classes,), default=None
        Classes that all clients have together, for ``TransferLogisticRegression``. ``None`` takes
        those of its source.
    feature_names : list of str, default=None
        Names of the columns, in order, by which clients match their data frames. ``None`` takes
        those of the source; without any, columns are matched by position.
    tol : float, default=1e-9
        Distance of the clients' weights from each other at which ``"fedadmm"`` stops: the root of
        the mean square, relative to the norm of the weights or to 1.
    timeout : float, default=3600.0
        Seconds to wait for the clients, and then for the replies of each round.
    save_to : str or Path, default=None
        File that gets the fitted estimator at the end, see :func:`~skltransfer.save`. ``None``
        saves nothing.

    Returns
    -------
    app : flwr.serverapp.ServerApp
        App that ``flwr run`` finds by its name in ``pyproject.toml``. At the end, the state of its
        context holds the weights, as ``"arrays"``.

    Raises
    ------
    TypeError
        If `estimator` is of a kind that cannot be averaged, or `strategy` is none.
    ValueError
        If a parameter is out of range, or would need the samples of all clients at once.
    RuntimeError
        In a run, if a client fails or does not reply in time.
    ImportError
        If Flower is not installed.

    Warns
    -----
    ConvergenceWarning
        If ``"fedadmm"`` does not reach `tol` in `n_rounds`.

    See Also
    --------
    client_app : Makes the app of the clients.
    simulate : Runs both in one process.

    Notes
    -----
    The optimum that ``"fedadmm"`` reaches is that of `estimator`, fitted to the samples of all
    clients together. A client `k` with `n_k` samples returns

    .. math::

        w_k = \arg\min_w F_k(w) + \frac{\mu}{2} \lVert w - a_k \rVert^2

    with its mean loss :math:`F_k` and its share :math:`n_k / n` of the penalty of `estimator`. The
    anchor :math:`a_k` is the server's model for ``"fedprox"`` [2]_ (equation 2). It is shifted by a
    dual variable of the client, which the server keeps, for ``"fedadmm"``, and rounds are
    extrapolated by Anderson's method.

    Weights tell something about samples, and more so over many rounds. Flower has means against it
    (differential privacy, secure aggregation), as `mods` of :func:`client_app` and as strategies.

    References
    ----------
    .. [1] H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
       Decentralized Data", AISTATS 2017, algorithm 1.
    .. [2] T. Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
    .. [3] S. Boyd et al., "Distributed Optimization and Statistical Learning via the Alternating
       Direction Method of Multipliers", Foundations and Trends in Machine Learning 3, 2011,
       section 7.1.
    .. [4] Y. Gong, Y. Li, N. M. Freris, "FedADMM: A Robust Federated Deep Learning Framework with
       Adaptivity to System Heterogeneity", ICDE 2022.

    Examples
    --------
    >>> from skltransfer import TransferLogisticRegression
    >>> from skltransfer.federated import server_app
    >>> app = server_app(TransferLogisticRegression(), n_clients=4, classes=[0, 1])
    """
    learner = learner_of(estimator)
    is_named = isinstance(strategy, str)
    if is_named:
        _STRATEGY.check("strategy", strategy)
    elif not hasattr(strategy, "start"):
        raise TypeError(
            f"strategy is a {type(strategy).__name__}. Pass a name or a Strategy of flwr."
        )
    _CLIENTS.check("n_clients", n_clients)
    _ROUNDS.check("n_rounds", n_rounds)
    _MU.check("proximal_mu", proximal_mu)
    _POSITIVE.check("tol", tol)
    _POSITIVE.check("timeout", timeout)
    if is_named and strategy == "auto":
        strategy = "fedadmm" if learner.is_convex else "fedprox"
    if is_named and strategy == "fedadmm":
        if not learner.is_convex:
            raise ValueError(
                "strategy='fedadmm' agrees on the optimum of a convex problem, which a network is "
                "not. Choose 'fedavg' or 'fedprox'."
            )
        if proximal_mu == 0:
            raise ValueError("strategy='fedadmm' needs proximal_mu greater than 0.")
    if n_rounds == "auto":
        n_rounds = _AUTO_ROUNDS.get(strategy, 10) if is_named else 10
    if proximal_mu == "auto":
        proximal_mu = learner.default_mu
    if save_to is not None:
        save_to = Path(save_to).expanduser()
        if not save_to.parent.is_dir():
            raise FileNotFoundError(
                f"save_to={str(save_to)!r}: there is no folder {str(save_to.parent)!r}."
            )
    shared = learner.config(classes, feature_names)
    require("flwr.serverapp", "federated", "skltransfer.federated.server_app")
    from flwr.app import ConfigRecord
    from flwr.serverapp import ServerApp

    from skltransfer.federated._strategies import (
        FedADMM,
        FedAvgOfAll,
        FedProxOfAll,
        to_arrays,
        to_weights,
    )

    app = ServerApp()

    @app.main()
    def main(grid, context):
        counts = _counts(grid, n_clients, timeout)
        examples = {node: counts[node].n_examples for node in counts}
        config = shared | {N_EXAMPLES: float(sum(examples.values()))}
        if not is_named:
            flower = strategy
        elif strategy == "fedavg":
            flower = FedAvgOfAll(list(examples))
        elif strategy == "fedprox":
            flower = FedProxOfAll(list(examples), proximal_mu=float(proximal_mu))
        else:
            flower = FedADMM(examples, tol, proximal_mu=float(proximal_mu))
        result = flower.start(
            grid,
            to_arrays(learner.start(_common(counts), config)),
            num_rounds=n_rounds,
            timeout=timeout,
            train_config=ConfigRecord(config),
        )
        if isinstance(flower, FedADMM) and not flower.has_converged:
            warnings.warn(
                f"The clients' weights still differ by {flower.residual:.1e} after {n_rounds} "
                f"rounds, and tol is {tol:g}. Raise n_rounds, or scale the columns.",
                ConvergenceWarning,
                stacklevel=2,
            )
        context.state["arrays"] = result.arrays
        model = learner.fitted(to_weights(result.arrays), config)
        if save_to is not None:
            skltransfer.save(model, save_to)
        if (run := in_process.get()) is not None:
            run.model = model

    return app


def _counts(grid, n_clients: int, timeout: float) -> dict[int, Counts]:
    """Wait for the clients, and ask each for the sizes of its samples."""
    from flwr.app import Message, MessageType, RecordDict

    from skltransfer.federated._strategies import check_replies

    end = time.monotonic() + timeout
    while len(nodes := sorted(grid.get_node_ids())) < n_clients:
        if in_process.get() is not None or time.monotonic() > end:
            raise RuntimeError(
                f"{len(nodes)} of n_clients={n_clients} clients are there. Start the others, or "
                "lower n_clients of server_app."
            )
        time.sleep(1)
    nodes = nodes[:n_clients]
    questions = [
        Message(RecordDict(), dst_node_id=node, message_type=MessageType.QUERY) for node in nodes
    ]
    replies = check_replies(grid.send_and_receive(questions, timeout=timeout), n_clients)
    counts = {}
    for reply in replies:
        sizes = reply.content["metrics"]
        counts[reply.metadata.src_node_id] = Counts(
            sizes["num-examples"], sizes["num-features"], sizes["num-outputs"]
        )
    return {node: counts[node] for node in nodes}


def _common(counts: dict[int, Counts]) -> Counts:
    """Return sizes of all clients together; raise a ValueError if columns do not match."""
    for name in ("n_features", "n_outputs"):
        sizes = {node: getattr(size, name) for node, size in counts.items()}
        if len(set(sizes.values())) > 1:
            what = "features" if name == "n_features" else "outputs"
            raise ValueError(
                f"The clients have different numbers of {what}: {sizes}. Let load_data return the "
                "same columns at each of them."
            )
    first = next(iter(counts.values()))
    total = sum(size.n_examples for size in counts.values())
    return Counts(total, first.n_features, first.n_outputs)
