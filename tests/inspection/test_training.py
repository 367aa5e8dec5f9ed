"""The picture of a training: what is drawn, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DANNClassifier, FineTunedClassifier, TrainingDisplay, WithTarget

X = np.random.default_rng(0).normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)
STEPS = {"optimizer": "adamw", "max_epochs": 3, "hidden_layer_sizes": (4,)}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(ax):
    """Return the curves that have a name, by name."""
    return {
        line.get_label(): line.get_ydata()
        for line in ax.get_lines()
        if not line.get_label().startswith("_")
    }


def test_the_curves_are_the_history():
    model = DANNClassifier(FineTunedClassifier(early_stopping=True, layer_decay=0.5, **STEPS))
    model.fit(X, Y, X_target=X + 1)
    display = TrainingDisplay.from_estimator(model)
    losses, accuracy, rates = display.axes_
    curves = drawn(losses)
    assert list(curves) == ["train loss", "valid loss", "label loss", "domain loss"]
    for name, values in curves.items():
        expected = [record[name.replace(" ", "_")] for record in model.history_]
        np.testing.assert_array_equal(values, expected)
    (values,) = drawn(accuracy).values()
    assert values.tolist() == [record["domain_accuracy"] for record in model.history_]
    assert list(drawn(rates)) == ["hidden1", "head, objective"]
    assert rates.get_xlabel() == "epoch" and display.figure_ is losses.figure


def test_what_is_not_recorded_is_not_drawn():
    display = TrainingDisplay.from_estimator(FineTunedClassifier(max_epochs=3).fit(X, Y))
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss"]  # L-BFGS has no rates
    steps = TrainingDisplay.from_estimator(FineTunedClassifier(**STEPS).fit(X, Y))
    assert [ax.get_ylabel() for ax in steps.axes_] == ["loss", "learning rate"]
    assert list(drawn(steps.axes_[0])) == ["train loss"]


def test_phases_are_separated_and_gaps_are_gaps():
    history = [
        {"epoch": 1, "train_loss": 2.0, "phase": "linear_probe", "seconds": 1.0},
        {"epoch": 1, "train_loss": 1.0, "label_loss": 1.0, "phase": "finetune", "seconds": 1.0},
    ]
    (ax,) = TrainingDisplay(history=history).plot().axes_
    np.testing.assert_array_equal(drawn(ax)["label loss"], [np.nan, 1.0])
    lines = [line for line in ax.get_lines() if line.get_label().startswith("_")]
    assert [line.get_xdata()[0] for line in lines] == [1.5]


@pytest.mark.parametrize("wrap", ["pipeline", "target", "search"])
def test_the_network_is_found_inside(wrap):
    network = FineTunedClassifier(**STEPS)
    if wrap == "pipeline":
        model = make_pipeline(StandardScaler(), network).fit(X, Y)
        inside = model[-1]
    elif wrap == "target":
        model = WithTarget(make_pipeline(StandardScaler(), DANNClassifier(network)), X + 1)
        model.fit(X, Y)
        inside = model.estimator_[-1]
    else:
        model = GridSearchCV(network, {"max_epochs": [1, 2]}, cv=2).fit(X, Y)
        inside = model.best_estimator_
    assert TrainingDisplay.from_estimator(model).history == inside.history_


def test_in_a_given_subplot():
    figure, (left, _) = plt.subplots(1, 2)
    model = FineTunedClassifier(**STEPS).fit(X, Y)
    display = TrainingDisplay.from_estimator(model, ax=left)
    assert display.figure_ is figure and len(figure.axes) == 4
    assert display.plot() is display and display.figure_ is not figure


def test_what_is_refused():
    with pytest.raises(TypeError, match="LogisticRegression has 0 steps with history_"):
        TrainingDisplay.from_estimator(LogisticRegression().fit(X, Y))
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(FineTunedClassifier())
