"""The app of a client."""

from __future__ import annotations

import logging
from functools import wraps

from skltransfer._messages import require
from skltransfer.federated._in_process import in_process
from skltransfer.federated._learners import learner_of

_log = logging.getLogger(__name__)
# Flower's own number for an app that has raised an exception.
_RAISED = 2


def client_app(estimator, load_data, *, mods=None):
    """Make the app that trains an estimator on the samples of one client.

    Weights and counts leave the client, and nothing else: the coefficients, or the trained weights
    of the network, and the numbers of samples, features and outputs. Of an error, its type alone
    leaves; the log of the client has the message.

    Parameters
    ----------
    estimator : estimator
        The same as for :func:`server_app`. It is never changed.
    load_data : callable
        Takes the :class:`flwr.app.Context` of the client and returns its samples and labels,
        ``(X, y)`` or ``(X, y, sample_weight)``. It is called for every message. All clients have to
        scale their columns alike.
    mods : list of callable, default=None
        Flower's modifiers of training messages, such as ``flwr.clientapp.mod.LocalDpMod``, which
        adds noise to the weights that leave. ``None`` changes nothing.

    Returns
    -------
    app : flwr.clientapp.ClientApp
        App that ``flwr run`` finds by its name in ``pyproject.toml``.

    Raises
    ------
    TypeError
        If `estimator` is of a kind that cannot be averaged, or `load_data` cannot be called.
    ValueError
        If a parameter of `estimator` would need the samples of all clients at once, such as
        ``alpha="auto"``.
    ImportError
        If Flower is not installed.

    See Also
    --------
    server_app : Makes the app of the server.
    simulate : Runs both in one process.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skltransfer import TransferRidge
    >>> from skltransfer.federated import client_app
    >>> X, y = load_diabetes(return_X_y=True)
    >>> def load_data(context):
    ...     part = slice(context.node_config["partition-id"], None, 3)
    ...     return X[part], y[part]
    >>> app = client_app(TransferRidge(), load_data)
    """
    learner = learner_of(estimator)
    if not callable(load_data):
        raise TypeError(
            f"load_data is a {type(load_data).__name__}. Pass a function that takes a context and "
            "returns (X, y)."
        )
    require("flwr.clientapp", "federated", "skltransfer.federated.client_app")
    from flwr.app import Error, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    from skltransfer.federated._strategies import to_arrays, to_weights

    def guarded(handler):
        @wraps(handler)
        def handle(message, context):
            try:
                return handler(message, context)
            except Exception as error:
                # The message of an error may hold labels or samples: it stays here.
                _log.error("A client has failed.", exc_info=error)
                if (run := in_process.get()) is not None:
                    run.errors.append(error)
                reason = Error(code=_RAISED, reason=type(error).__name__)
                return Message(reason, reply_to=message)

        return handle

    app = ClientApp()

    @app.query()
    @guarded
    def query(message, context):
        counts = learner.counts(*_loaded(load_data, context))
        sizes = {
            "num-examples": counts.n_examples,
            "num-features": counts.n_features,
            "num-outputs": counts.n_outputs,
        }
        return Message(RecordDict({"metrics": MetricRecord(sizes)}), reply_to=message)

    @app.train(mods=None if mods is None else list(mods))
    @guarded
    def train(message, context):
        X, y, sample_weight = _loaded(load_data, context)
        weights, config = to_weights(message.content["arrays"]), dict(message.content["config"])
        weights = learner.trained(weights, config, X, y, sample_weight)
        counts = MetricRecord({"num-examples": learner.counts(X, y, sample_weight).n_examples})
        content = RecordDict({"arrays": to_arrays(weights), "metrics": counts})
        return Message(content, reply_to=message)

    return app


def _loaded(load_data, context) -> tuple:
    """Return samples, labels and weights (or None) of a client."""
    data = load_data(context)
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise TypeError(
            f"load_data returned a {type(data).__name__}. Let it return (X, y) or "
            "(X, y, sample_weight)."
        )
    return (*data, None) if len(data) == 2 else data
