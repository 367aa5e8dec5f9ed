"""What the estimators that train a network share: from rows to a trained network, and back."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from skltransfer._networks._built import (
    Built,
    distinct_rows,
    make_extractor,
)
from skltransfer._networks._data import Data
from skltransfer._networks._fine_tuning_options import check_options
from skltransfer._networks._fitting import Run
from skltransfer._networks._labels import Problem
from skltransfer._networks._plan import MAX_ROWS_OF_FEATURES, needs_steps
from skltransfer._torch._callbacks import EpochReports
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._input import (
    check_dimensions,
    check_images_for,
    n_dimensions_of_images,
    read_rows,
)
from skltransfer._torch._penalties import Pull
from skltransfer._torch._persisted import HoldsNetworks
from skltransfer._torch._rows import Rows, as_items
from skltransfer._torch._store import feature_store
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import takes_text
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.backbones._table import as_table, flatten_images, is_table
from skltransfer.domains._by_reference import HoldsByReference

_FITTED = (
    "network_",
    "history_",
    "n_iter_",
    "stages_",
    "classes_",
    "_built",
    "_problem",
    "_key",
    "_is_frozen",
    "_record",
    "_optimizer",
)


class FineTuning(
    HoldsNetworks,
    HoldsByReference,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Train a pretrained network, or its output layer, on the rows of a task.

    A subclass says what the labels are, which loss compares them with outputs, and which penalty
    the weights carry.
    """

    _held = ("backbone",)

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train the network on the rows of the task.

        Parameters
        ----------
        X : array-like
            Rows of the task, in any of the forms above.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: a weight of two counts like the row given twice.

        Returns
        -------
        self : estimator
        """
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(
            estimator=self, X=X, y=y, metadata={"sample_weight": sample_weight}
        )
        check_options(self)
        earlier = self._earlier_fit() if self.warm_start else None
        if earlier is None:
            self._forget()
        data, problem = self._checked(X, y, sample_weight, earlier)
        data, validation = self._split(data)
        run = Run(self, self._load(data.rows), data, problem, validation, earlier)
        reports = EpochReports(
            self, context, X, y, sample_weight, lambda: self._attributes(run, copy=True)
        )
        run.train(reports)
        self._forget()
        vars(self).update(self._attributes(run))
        context.call_on_fit_task_end(
            estimator=self,
            X=X,
            y=y,
            metadata={"sample_weight": sample_weight},
            reconstruction_attributes={},
        )
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch from where the last call, or `fit`, has ended.

        Mini-batches, with a constant learning rate. The first call fixes classes, number of
        outputs and standardisation; the moments of the optimiser are kept from call to call.

        Parameters
        ----------
        X : array-like
            Rows of the task.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            For a classifier, all classes that will ever come: needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
        """
        check_options(self)
        if self.strategy == "lora":
            raise ValueError(
                "partial_fit cannot go on with strategy='lora', whose changes are added to the "
                "weights at the end. Use fit, or strategy='finetune' or 'linear_probe'."
            )
        earlier = self._earlier_fit()
        data, problem = self._checked(X, y, sample_weight, earlier, classes, is_partial=True)
        history = getattr(self, "history_", [])
        run = Run(self, self._load(data.rows), data, problem, None, earlier)
        run.train_one_epoch(getattr(self, "_optimizer", None), len(history))
        vars(self).update(self._attributes(run))
        vars(self).pop("_record", None)  # the network has moved on
        self.history_ = history + [r | {"epoch": len(history) + 1} for r in self.history_]
        self.n_iter_ = len(self.history_)
        self._optimizer = run.optimizer
        return self

    def transform(self, X):
        """Return the features that the output layer is given.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        return self._features(X)

    # --- what a subclass says ----------------------------------------------------------

    @abstractmethod
    def _encode(self, y, earlier, classes, is_partial: bool) -> Problem:
        """Validate labels, and say what is to be minimised."""

    def _pulls(self, run: Run, group: dict) -> list[Pull] | None:
        """Return what pulls the parameters of a group; None leaves them to `weight_decay`."""
        return None

    def _extra_loss(self, run: Run):
        """Return what takes the place of the plain objective, or None.

        It is called with the network, a batch and a function from outputs and batch to the losses
        of rows, or to their mean if they count alike; returns losses (or a pair of losses and a
        scalar), and has ``close()``.
        """
        return None

    # --- fitting -----------------------------------------------------------------------

    def _checked(
        self, X, y, sample_weight, earlier, classes=None, is_partial=False
    ) -> tuple[Data, Problem]:
        """Validate rows, labels and weights; drop the rows that weigh nothing."""
        rows = self._rows(X, reset=earlier is None)
        if len(rows) == 0:
            raise ValueError("X has 0 sample(s). At least one row is needed to train on.")
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_consistent_length(range(len(rows)), y)
        problem = self._encode(y, earlier, classes, is_partial)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, problem.targets, dtype=np.float64, ensure_non_negative=True
            )
        if weights is not None and not (used := weights > 0).all():
            kept = np.flatnonzero(used)
            rows, problem, weights = rows.subset(kept), problem.subset(kept), weights[kept]
        at_once = not is_partial and not needs_steps(self, of_head=self.strategy == "linear_probe")
        if at_once and is_table(rows) and len(rows) <= MAX_ROWS_OF_FEATURES:
            first, weights = distinct_rows(as_table(rows), problem.targets, weights)
            rows, problem = rows.subset(first), problem.subset(first)
        by_class = problem.row_weights(weights)
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
        problem.learn(weights)
        return Data(rows, problem.targets, weights, problem.codes), problem

    def _split(self, data: Data) -> tuple[Data, Data | None]:
        """Return rows to train on and, for early stopping, rows to validate on."""
        if not self.early_stopping:
            return data, None
        n = len(data)
        n_valid = int(np.ceil(self.validation_fraction * n))
        counts = None if data.codes is None else np.bincount(data.codes)
        is_stratified = counts is not None and counts[counts > 0].min() > 1
        is_stratified = is_stratified and min(n_valid, n - n_valid) >= (counts > 0).sum()
        splitter = StratifiedShuffleSplit if is_stratified else ShuffleSplit
        if n_valid == 0:
            raise ValueError(
                f"early_stopping=True with validation_fraction={self.validation_fraction!r} sets "
                "no row aside. Raise validation_fraction, or set early_stopping=False."
            )
        if n_valid >= n:
            raise ValueError(
                f"early_stopping=True leaves no row of {n} to train on. Lower "
                "validation_fraction, give more rows, or set early_stopping=False."
            )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        splits = splitter(1, test_size=n_valid, random_state=seed)
        trained, held_out = next(splits.split(np.zeros(n), data.codes))
        return data.subset(trained), data.subset(held_out)

    def _load(self, rows: Rows | None) -> Backbone | None:
        """Return the record of the backbone; None for the table network."""
        if self.backbone is None:
            return None
        shape = rows.shape if callable(self.backbone) else None
        # A generator would give other weights with every call.
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        record = load_backbone(
            self.backbone, self.weights, random_state=int(seed), input_shape=shape
        )
        if rows is None:
            return record
        check_images_for(record.name, record.preprocessing, rows)
        return record

    def _rows(self, X, *, reset: bool, is_text: bool | None = None) -> Rows:
        if self.backbone is None and as_items(X) is not None:
            raise TypeError(
                "X holds paths, images or texts, which backbone=None cannot turn into numbers. "
                "Name a backbone: 'tiny' or 'resnet18' for images, 'hf:...' for texts."
            )
        if not reset:
            check_dimensions(getattr(self, "_n_dimensions", None), X)
        rows = read_rows(
            self,
            X,
            reset=reset,
            image_shape=self.image_shape,
            value_range=self.value_range,
            is_text=self._takes_text(reset) if is_text is None else is_text,
        )
        if reset:
            self._n_dimensions = n_dimensions_of_images(X)
        return flatten_images(rows) if self.backbone is None else rows

    def _takes_text(self, reset: bool) -> bool:
        # Only the network can tell a text from the path of an image.
        if self.backbone is None or callable(self.backbone):
            return False
        if not reset:  # what the network was made from may be gone
            return takes_text(self._built.record)
        return takes_text(self._load(None))

    def _earlier_fit(self) -> tuple[Built, Problem] | None:
        """Return what `warm_start` and `partial_fit` go on from."""
        return (self._built, self._problem) if hasattr(self, "network_") else None

    def _forget(self) -> None:
        for name in _FITTED:
            self.__dict__.pop(name, None)

    def _attributes(self, run: Run, *, copy: bool = False) -> dict:
        """Return the fitted attributes; a copy for a callback, while training goes on."""
        attributes = run.attributes(copy=copy) | run.problem.attributes
        for name in ("n_features_in_", "feature_names_in_", "_n_dimensions"):
            if hasattr(self, name):
                attributes[name] = getattr(self, name)
        return attributes

    # --- prediction --------------------------------------------------------------------

    def _features(self, X) -> np.ndarray:
        rows = self._rows(X, reset=False)
        network = self.network_
        if self.backbone is not None:
            check_images_for(self._built.record.name, network.preprocessing, rows)
        device = next((t.device for t in network.parameters()), torch.device("cpu"))
        extractor = make_extractor(network, device, self._key)
        if not len(rows):
            return np.empty((0, self._n_features_out))
        if self._is_frozen:
            return extractor.extract(rows, store=feature_store)
        return extractor.extract(rows, batch_size=min(extractor.batch_size(rows), len(rows)))

    def _outputs(self, X) -> np.ndarray:
        """Return the network's outputs, shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        features = self._features(X)
        head = self.network_.head
        like = next(iter([*head.parameters(), *head.buffers()]), torch.empty(0))
        with network_lock, torch.inference_mode():
            outputs = head(torch.tensor(features, dtype=self.network_.head_dtype).to(like.device))
        return outputs.double().cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return self._built.n_features

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained network, without its head, as a start for another estimator."""
        if not hasattr(self, "network_"):
            raise unfitted_backbone(self)
        if not hasattr(self, "_record"):
            self._record = self._built.trained_record()
        return self._record

    def __getstate__(self):
        state = super().__getstate__()
        for name in ("_record", "_optimizer", "_callback_fit_ctx"):
            state.pop(name, None)
        if self.backbone is not None and "_built" in state:
            # The weights at the start are those of `backbone`, and read from it when needed.
            state["_built"] = state["_built"].without_source()
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags
