"""Callbacks of scikit-learn, passed on to the one estimator that a meta-estimator fits."""

from __future__ import annotations

from contextlib import contextmanager

from sklearn import config_context
from sklearn.callback import CallbackSupportMixin


class CallbackPassingMixin(CallbackSupportMixin):
    """Tells callbacks of its fit, and hands those that propagate to the estimator it fits.

    The method that enters `_fit_task` is decorated by ``with_callbacks``.
    """

    @contextmanager
    def _fit_task(self, estimator, X, y, sample_weight=None):
        """Make the fit of `estimator` (None for no such fit) a task within the fit of this one.

        On leaving, this one is fitted.
        """
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        data = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        context = self._init_callback_context(max_subtasks=0 if estimator is None else 1)
        context.call_on_fit_task_begin(**data)
        if estimator is None:
            yield
        else:
            subcontext = context.subcontext(task_name="fit-estimator")
            with subcontext.propagate_callback_context(estimator):
                subcontext.call_on_fit_task_begin(**data)
                yield
                subcontext.call_on_fit_task_end(**data)
        # Inside WithTarget routing is on, and a monitor's scorer has no request for the weights.
        with config_context(enable_metadata_routing=False):
            # Nothing has to be set to predict: what fit learned is there.
            context.call_on_fit_task_end(**data, reconstruction_attributes={})
