"""Only weights and counts leave a client; errors say what is wrong, and where it stays."""

import logging
import random
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    FineTunedClassifier,
    TransferLogisticRegression,
    TransferRidge,
    TransferRidgeCV,
)
from skltransfer.federated import client_app, server_app, simulate
from tests.federated.fields import classification, federated, loader, regression

pytest.importorskip("flwr")


def spied(app):
    """Return an app that keeps what its clients reply, and the list of replies."""
    replies = []

    def spy(message, context):
        replies.append(app(message, context))
        return replies[-1]

    return spy, replies


def record(client, estimator, n_clients, **settings):
    client, replies = spied(client)
    simulate(client, server_app(estimator, n_clients=n_clients, **settings), n_clients)
    return replies


def check_content(replies, shapes, parts):
    """Assert that replies hold weights of these shapes, numbers of samples, and nothing else."""
    numbers = {len(y) for _, y in parts}
    for reply in replies:
        assert not reply.has_error()
        content = reply.content
        metrics = dict(content["metrics"])
        if reply.metadata.message_type == "query":
            assert set(content) == {"metrics"}
            assert set(metrics) == {"num-examples", "num-features", "num-outputs"}
            assert metrics["num-features"] == parts[0][0].shape[1] and metrics["num-outputs"] == 1
        else:
            assert set(content) == {"arrays", "metrics"} and set(metrics) == {"num-examples"}
            sent = {name: array.numpy().shape for name, array in content["arrays"].items()}
            assert sent == shapes
        assert metrics["num-examples"] in numbers
        assert all(isinstance(number, int) for number in metrics.values())


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadmm"])
def test_only_weights_and_counts_leave_a_client_with_a_linear_model(strategy):
    parts, estimator = regression(), TransferRidge()
    client = client_app(estimator, loader(*parts))
    replies = record(client, estimator, 3, strategy=strategy)
    assert len(replies) > 3
    check_content(replies, {"coef": (1, 6), "intercept": (1,)}, parts)
    assert {len(reply.content["arrays"]) for reply in replies[3:]} == {2}


def test_only_weights_and_counts_leave_a_client_with_a_network():
    parts = classification()
    estimator = FineTunedClassifier(hidden_layer_sizes=(4,), max_epochs=2).fit(*parts[0])
    parts = [(X[np.isin(y, estimator.classes_)], y[np.isin(y, estimator.classes_)])
             for X, y in parts]  # fmt: skip
    replies = record(client_app(estimator, loader(*parts)), estimator, 3, n_rounds=2)
    network = dict(estimator.network_.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in network.items()}
    check_content(replies, shapes, parts)


def test_a_client_keeps_nothing_between_rounds():
    parts, estimator = regression(), TransferRidge()
    client, states = client_app(estimator, loader(*parts)), []

    def spy(message, context):
        reply = client(message, context)
        states.append(dict(context.state))
        return reply

    simulate(spy, server_app(estimator, n_clients=3), 3)
    assert states and not any(states)


def test_modifiers_of_flower_change_what_leaves():
    from flwr.clientapp.mod import LocalDpMod

    parts, estimator = regression(), TransferRidge()
    noise = LocalDpMod(clipping_norm=0.5, sensitivity=1e-6, epsilon=1.0, delta=0.1)
    client = client_app(estimator, loader(*parts), mods=[noise])
    replies = record(client, estimator, 3, strategy="fedavg", n_rounds=1)
    plain = record(client_app(estimator, loader(*parts)), estimator, 3, strategy="fedavg")
    check_content(replies, {"coef": (1, 6), "intercept": (1,)}, parts)

    def size(reply):
        return np.sqrt(sum((a.numpy() ** 2).sum() for a in reply.content["arrays"].values()))

    assert max(map(size, replies[3:])) < 0.51 < min(map(size, plain[3:]))


def test_of_an_error_only_the_type_leaves(caplog):
    parts = classification()
    parts[1][1][0] = 77
    estimator = TransferLogisticRegression()
    client, replies = spied(client_app(estimator, loader(*parts)))
    server = server_app(estimator, n_clients=3, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="y holds .77., which is not among the classes"):
        simulate(client, server, 3)
    errors = [reply.error for reply in replies if reply.has_error()]
    assert [error.reason for error in errors] == ["ValueError"]
    assert not any("77" in str(vars(error)) for error in errors)


def test_the_log_of_a_client_has_the_message(caplog):
    def load_data(context):
        raise OSError("the disk of patient 12")

    client = client_app(TransferRidge(), load_data)
    with caplog.at_level(logging.ERROR), pytest.raises(OSError, match="patient 12"):
        simulate(client, server_app(TransferRidge(), n_clients=2), 2, verbose=True)
    assert "patient 12" in caplog.text


def test_the_server_names_the_clients_that_failed():
    from flwr.app import Error, Message

    parts = regression()
    client = client_app(TransferRidge(), loader(*parts))

    def unreliable(message, context):
        if message.metadata.message_type == "train" and context.node_id == 2:
            return Message(Error(code=0, reason="Lost"), reply_to=message)
        return client(message, context)

    with pytest.raises(RuntimeError, match=r"1 of 3 clients failed: 2 \(Lost\)"):
        simulate(unreliable, server_app(TransferRidge(), n_clients=3), 3)


def test_the_server_says_who_is_late():
    from flwr.app import RecordDict

    from skltransfer.federated._strategies import check_replies

    class Reply:
        content = RecordDict()

        def has_error(self):
            return False

    assert len(check_replies([Reply()], 1)) == 1
    with pytest.raises(RuntimeError, match="1 of 2 clients replied in time. Raise timeout"):
        check_replies([Reply()], 2)


# --- errors before a run ---------------------------------------------------------------------

SOURCE = Ridge().fit(np.eye(3), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (make_pipeline(StandardScaler(), TransferRidge()), TypeError, "estimator is a Pipeline"),
        (TransferRidgeCV(SOURCE), TypeError, "estimator is a TransferRidgeCV"),
        (LogisticRegression(), TypeError, "estimator is a LogisticRegression"),
        (TransferRidge(SOURCE), ValueError, "alpha='auto' needs the samples of all clients"),
        (TransferRidge(SOURCE, alpha=1.0), ValueError, "penalize_intercept='auto' needs"),
        (TransferRidge(SOURCE, alpha=np.inf), ValueError, "alpha=inf keeps the source"),
        (TransferRidge(source_alpha=-1), ValueError, "source_alpha=-1 is not"),
        (
            TransferLogisticRegression(class_weight="balanced"),
            ValueError,
            "class_weight='balanced' needs the samples of all clients",
        ),
        (FineTunedClassifier(), ValueError, "FineTunedClassifier that is not fitted"),
    ],
)
def test_estimators_that_cannot_be_federated(estimator, error, message):
    for make in (
        lambda: client_app(estimator, loader()),
        lambda: server_app(estimator, n_clients=2),
    ):
        with pytest.raises(error, match=message):
            make()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "fedprx"}, "Did you mean 'fedprox'"),
        ({"n_rounds": 0}, "n_rounds=0 is not"),
        ({"n_clients": 0}, "n_clients=0 is not"),
        ({"proximal_mu": -1}, "proximal_mu=-1 is not"),
        ({"proximal_mu": 0}, "needs proximal_mu greater than 0"),
        ({"tol": 0}, "tol=0 is not"),
        ({"timeout": 0}, "timeout=0 is not"),
        ({"classes": [0, 1]}, "classes= is for classifiers"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        server_app(TransferRidge(), **{"n_clients": 2} | settings)


def test_classes_have_to_be_known():
    with pytest.raises(ValueError, match="classes is missing"):
        server_app(TransferLogisticRegression(), n_clients=2)
    with pytest.raises(ValueError, match="fewer than 2 classes"):
        server_app(TransferLogisticRegression(), n_clients=2, classes=[1, 1])


def test_a_missing_folder_is_said_before_the_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="save_to=.*there is no folder"):
        server_app(TransferRidge(), n_clients=2, save_to=tmp_path / "none" / "model.skops")


def test_flower_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr.serverapp", None)
    monkeypatch.setitem(sys.modules, "flwr.clientapp", None)
    for make in (
        lambda: client_app(TransferRidge(), loader()),
        lambda: server_app(TransferRidge(), n_clients=2),
        lambda: simulate(None, None, 2),
    ):
        with pytest.raises(ImportError, match=r"needs flwr.*skltransfer\[federated\]"):
            make()


def test_a_strategy_is_a_name_or_flowers():
    with pytest.raises(TypeError, match="strategy is a list"):
        server_app(TransferRidge(), n_clients=2, strategy=["fedavg"])


# --- errors in a run -------------------------------------------------------------------------


def test_clients_that_are_missing_are_not_waited_for_in_one_process():
    client = client_app(TransferRidge(), loader(*regression()))
    with pytest.raises(RuntimeError, match="3 of n_clients=4 clients are there"):
        simulate(client, server_app(TransferRidge(), n_clients=4), 3)


def test_clients_that_come_later_take_no_part():
    parts, estimator = regression(), TransferRidge()
    client, replies = spied(client_app(estimator, loader(*parts)))
    simulate(client, server_app(estimator, n_clients=2, strategy="fedprox", n_rounds=2), 3)
    assert {reply.metadata.src_node_id for reply in replies} == {1, 2}


def test_clients_with_other_columns():
    (X, y), *others = regression()
    with pytest.raises(ValueError, match="different numbers of features: {1: 4, 2: 6, 3: 6}"):
        federated(TransferRidge(), [(X[:, :4], y), *others])
    source = TransferRidge(SOURCE, alpha=1.0, penalize_intercept=True)
    with pytest.raises(ValueError, match="coefficients for 3 features, and X has 6"):
        federated(source, others)
    with pytest.raises(ValueError, match="There are 2 feature names, and the clients have 6"):
        federated(TransferRidge(), others, feature_names=["a", "b"])


def test_clients_with_other_names_of_columns():
    pandas = pytest.importorskip("pandas")
    X, y = regression()[0]
    frame = pandas.DataFrame(X, columns=list("abcdeg"))
    with pytest.raises(ValueError, match="X has the columns .*'a'.*and the federation"):
        federated(TransferRidge(), [(frame, y)], feature_names=list("abcdef"))


def test_a_class_that_a_client_lacks_needs_a_pull():
    parts = classification(n_classes=2)
    parts = [(X[y == k], y[y == k]) for k, (X, y) in enumerate(parts)]
    with pytest.raises(ValueError, match="y lacks the classes.*Choose strategy='fedadmm'"):
        federated(TransferLogisticRegression(), parts, classes=[0, 1], strategy="fedavg")


@pytest.mark.parametrize("data", [np.eye(2), (np.eye(2),), None])
def test_what_load_data_returns(data):
    with pytest.raises(TypeError, match="load_data returned"):
        federated(TransferRidge(), [data, data])


def test_load_data_is_a_function():
    with pytest.raises(TypeError, match="load_data is a tuple"):
        client_app(TransferRidge(), regression()[0])


# --- what a run leaves behind ----------------------------------------------------------------


def test_a_run_leaves_everything_as_it_was():
    parts = regression()
    for X, y in parts:
        X.flags.writeable = y.flags.writeable = False
    source = Ridge().fit(*parts[0])
    before = source.coef_.copy()
    estimator = TransferRidge(source, alpha=1.0, penalize_intercept=True)
    given = clone(estimator).get_params()
    logs = [logging.getLogger(name) for name in ("flwr", "skltransfer.federated")]
    levels, state = [log.level for log in logs], np.random.get_state()[1].copy()
    own_state = random.getstate()
    federated(estimator, parts)
    federated(estimator, parts, strategy="fedavg", n_rounds=1)
    assert [log.level for log in logs] == levels and random.getstate() == own_state
    np.testing.assert_array_equal(source.coef_, before)
    assert {k: v for k, v in estimator.get_params().items() if k != "source"} == {
        k: v for k, v in given.items() if k != "source"
    }
    assert not [name for name in vars(estimator) if name.endswith("_")]
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    task = pytest.importorskip("flwr.supercore.task_identity").TaskIdentity
    with pytest.raises(RuntimeError, match="not set"):
        task.run_id  # noqa: B018
