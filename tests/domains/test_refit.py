"""What a second fit forgets of the first, and what a fit that fails leaves behind."""

import inspect
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin, ProgressBar, with_callbacks
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted

import skltransfer
from skltransfer import (
    FineTunedClassifier,
    PooledEstimator,
    WithSource,
    WithTarget,
)
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._composition import consumed_keywords
from skltransfer.domains._refit import fits_anew, fits_on, fitted_attributes, forget
from skltransfer.relation._two_domain_network import TwoDomainNetwork
from tests.test_sklearn_checks import FIRST_OF_ITS_CLASS


class Learner(CallbackSupportMixin, BaseEstimator):
    def __init__(self, size=1, lambda_=0.5, warm_start=False):
        self.size = size
        self.lambda_ = lambda_
        self.warm_start = warm_start

    @with_callbacks
    @fits_anew
    def fit(self, X, y=None, error=None):
        task = FitTask.begin(self, X, y)
        for number in range(self.size):
            setattr(self, f"part_{number}_", number)
        if error is not None:
            raise error
        self._shared = len(X)
        task.end({})
        return self

    @fits_on
    def partial_fit(self, X, y=None):
        self.part_0_, self.more_ = 7, 8
        raise KeyboardInterrupt


def test_what_fit_has_set_is_forgotten_and_nothing_else():
    model = Learner(size=2).set_callbacks(ProgressBar())
    model.note = "a remark of the user"
    before = dict(vars(model))
    model.fit([[0.0]])
    assert set(fitted_attributes(model)) == {"part_0_", "part_1_", "_shared"}
    forget(model)
    assert vars(model) == before
    forget(model)  # there is nothing left


def test_a_smaller_fit_leaves_nothing_of_a_larger_one_while_callbacks_listen():
    model = Learner(size=3).set_callbacks(ProgressBar()).fit([[0.0]])
    model.set_params(size=1).fit([[0.0]])
    assert set(fitted_attributes(model)) == {"part_0_", "_shared"}
    assert model.lambda_ == 0.5


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_fit_that_fails_leaves_nothing_unless_it_goes_on_from_an_earlier_one(error):
    model = Learner(size=2).fit([[0.0]])
    with pytest.raises(type(error)):
        model.set_params(size=3).fit([[0.0]], error=error)
    assert fitted_attributes(model) == []
    model = Learner(size=2, warm_start=True).fit([[0.0]])
    before = dict(vars(model))
    with pytest.raises(type(error)):
        model.set_params(size=3).fit([[0.0]], error=error)
    assert vars(model) == before | {"size": 3}
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit([[0.0]])
    assert vars(model) == before | {"size": 3}


def test_settings_of_scikit_learn_survive():
    model = PooledEstimator(LogisticRegression())
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    X, y = [[0.0], [1.0]], [0, 1]
    model.fit(X, y, X_target=X, y_target=y)
    forget(model)
    assert not hasattr(model, "estimator_")
    with config_context(enable_metadata_routing=True):
        requests = get_routing_for_object(model).consumes("fit", ["sample_weight"])
    assert requests == {"sample_weight"}


# --- every public estimator ----------------------------------------------------------------

rng = np.random.default_rng(0)
X, X_TARGET = rng.normal(size=(24, 3)), rng.normal(0.3, 1, (18, 3))
Y, Y_TARGET = (X[:, 0] > 0).astype(int), (X_TARGET[:, 0] > 0).astype(int)
PACKAGE = str(Path(skltransfer.__file__).parent)


class Interruptions:
    """Counts calls inside of the package, and interrupts the user's program at one of them."""

    def __init__(self, at=None):
        self.at, self.n_calls = at, 0

    def __call__(self, frame, event, argument):
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PACKAGE) or name.endswith("_refit.py"):
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            return  # Python ignores what is raised in a generator that it closes
        self.n_calls += 1
        if self.n_calls == self.at:
            sys.setprofile(None)
            raise KeyboardInterrupt


@contextmanager
def watched(interruptions):
    sys.setprofile(interruptions)
    try:
        yield
    finally:
        sys.setprofile(None)


def small(estimator):
    """Return a clone that is fitted in little time, on two domains where it takes them."""
    if isinstance(estimator, TwoDomainNetwork):
        estimator = clone(estimator).set_params(estimator=estimator._to_fit())
    settings = {
        "estimator__max_epochs": 2,
        "max_epochs": 2,
        "max_iter": 5,
        "n_estimators": 3,
        "n_steps": 2,
        "episodes_per_epoch": 2,
    }
    names = estimator.get_params()
    estimator = clone(estimator).set_params(
        **{name: value for name, value in settings.items() if name in names}
    )
    if isinstance(estimator, WithTarget):
        estimator.set_params(X_target=X_TARGET, y_target=Y_TARGET)
    elif isinstance(estimator, WithSource):
        estimator.set_params(X_source=X, y_source=Y)
    return estimator


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", FIRST_OF_ITS_CLASS, ids=lambda e: type(e).__name__)
def test_a_fit_that_fails_or_is_interrupted_leaves_the_estimator_unfitted(estimator):
    model = small(estimator)
    asked = (
        consumed_keywords(model, "fit") if not isinstance(model, WithSource | WithTarget) else ()
    )
    given = {"X_target": X_TARGET, "y_target": Y_TARGET}
    known = {name: given[name] for name in asked}
    model.fit(X, Y, **known)  # loads what is loaded once
    counter = Interruptions()
    with watched(counter):
        model.fit(X, Y, **known)
    check_is_fitted(model)
    for share in (0.3, 0.8):
        interruptions = Interruptions(int(share * counter.n_calls) or 1)
        with pytest.raises(KeyboardInterrupt), watched(interruptions):
            model.fit(X, Y, **known)
        assert fitted_attributes(model) == []
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
    model.fit(X, Y, **known)
    with pytest.raises(ValueError):
        if known:
            model.fit(X, Y, **known | {"X_target": X_TARGET[:, :2]})
        else:
            model.fit(np.where(np.eye(*X.shape) > 0, np.inf, X), Y)
    assert fitted_attributes(model) == []


@pytest.mark.parametrize("goes_on", ["partial_fit", "warm_start"])
def test_a_network_that_is_interrupted_as_it_goes_on_is_as_it_was(goes_on):
    model = FineTunedClassifier(max_epochs=3, optimizer="adamw", batch_size=8)
    if goes_on == "partial_fit":
        again = model.partial_fit(X, Y, classes=[0, 1]).partial_fit
    else:
        again = model.set_params(warm_start=True).fit(X, Y).fit
    again(X, 1 - Y)  # loads what is loaded once
    counter = Interruptions()
    with watched(counter):
        again(X, Y)
    before, expected = dict(vars(model)), model.predict_proba(X)
    for share in (0.5, 0.8):
        at = int(share * counter.n_calls)
        with pytest.raises(KeyboardInterrupt), watched(Interruptions(at)):
            again(X, 1 - Y)
        assert vars(model) == before
        np.testing.assert_array_equal(model.predict_proba(X), expected)
    with pytest.raises(ValueError):
        again(X[:, :2], Y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    again(X, 1 - Y)
    assert (model.predict_proba(X) != expected).any()
