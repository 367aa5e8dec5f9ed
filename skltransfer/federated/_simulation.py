"""Server and clients in one process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from skltransfer._messages import require
from skltransfer._parameters import Count
from skltransfer.federated._in_process import InProcess, in_process


def simulate(client_app, server_app, n_clients, *, verbose: bool = False):
    """Run the apps of a server and of its clients in this process.

    The messages are those of a real run. There is no network and no other process: clients train
    one after the other. Flower's own simulation, for many clients in parallel, is
    ``flwr.simulation.run_simulation``, which needs ray.

    Parameters
    ----------
    client_app : flwr.clientapp.ClientApp
        App of :func:`client_app`. `load_data` is given a context whose
        ``node_config["partition-id"]`` is the number of the client, from 0, and whose
        ``node_config["num-partitions"]`` is `n_clients`.
    server_app : flwr.serverapp.ServerApp
        App of :func:`server_app`.
    n_clients : int
        Number of clients.
    verbose : bool, default=False
        Whether Flower logs each round.

    Returns
    -------
    model : estimator
        Fitted estimator with the weights that the server ends with.

    Raises
    ------
    Exception
        Error of the first client that fails.
    ImportError
        If Flower is not installed.

    See Also
    --------
    client_app : Makes the app of the clients.
    server_app : Makes the app of the server.

    Examples
    --------
    Three clients find the model of all samples together, which stay where they are:

    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer import TransferRidge
    >>> from skltransfer.federated import client_app, server_app, simulate
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> X, y = (X - X.mean(0)) / X.std(0), y / 100
    >>> part = np.digitize(X[:, 2], [-0.5, 0.5])  # clients differ in body mass
    >>> def load_data(context):
    ...     mine = part == context.node_config["partition-id"]
    ...     return X[mine], y[mine]
    >>> estimator = TransferRidge(source_alpha=1.0)
    >>> client, server = client_app(estimator, load_data), server_app(estimator, n_clients=3)
    >>> model = simulate(client, server, n_clients=3)
    >>> bool(np.abs(model.coef_ - Ridge(alpha=1.0).fit(X, y).coef_).max() < 1e-6)
    True
    """
    require("flwr.serverapp", "federated", "skltransfer.federated.simulate")
    Count().check("n_clients", n_clients)
    from flwr.app import Context, RecordDict

    from skltransfer.federated._grid import InProcessGrid, sender

    def context(node: int, config: dict) -> Context:
        return Context(
            run_id=0, node_id=node, node_config=config, state=RecordDict(), run_config={}
        )

    contexts = {
        number + 1: context(number + 1, {"partition-id": number, "num-partitions": n_clients})
        for number in range(n_clients)
    }
    run = InProcess()
    token = in_process.set(run)
    try:
        with sender(), _quiet(not verbose):
            server_app(InProcessGrid(client_app, contexts), context(0, {}))
    except RuntimeError as error:
        if run.errors:
            raise run.errors[0] from error
        raise
    finally:
        in_process.reset(token)
    return run.model


@contextmanager
def _quiet(is_quiet: bool) -> Iterator[None]:
    """Let Flower's log say nothing but errors inside the block."""
    log = logging.getLogger("flwr")
    own = logging.getLogger("skltransfer.federated")
    levels = log.level, own.level
    if is_quiet:
        log.setLevel(logging.ERROR)
        own.setLevel(logging.CRITICAL)  # errors of clients are raised
    try:
        yield
    finally:
        log.setLevel(levels[0])
        own.setLevel(levels[1])
