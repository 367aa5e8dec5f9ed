"""What a second fit forgets of the first."""

from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, ProgressBar, with_callbacks
from sklearn.linear_model import LogisticRegression
from sklearn.utils.metadata_routing import get_routing_for_object

from skltransfer import PooledEstimator
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._refit import fitted_attributes, forget


class Learner(CallbackSupportMixin, BaseEstimator):
    def __init__(self, size=1, lambda_=0.5):
        self.size = size
        self.lambda_ = lambda_

    @with_callbacks
    def fit(self, X, y=None):
        task = FitTask.begin(self, X, y)
        forget(self)
        for number in range(self.size):
            setattr(self, f"part_{number}_", number)
        self._shared = len(X)
        task.end({})
        return self


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
