"""What the estimators that train a network share: from rows to a trained network, and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Self

import numpy as np
from scipy.special import expit
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skltransfer._decorators import with_callbacks
from skltransfer._documentation import DocumentedEstimator
from skltransfer._networks._built import Built
from skltransfer._networks._fitting import Data, Fitting
from skltransfer._networks._labels import Classes, Labels, Numbers
from skltransfer._networks._objective import LabelLoss, Objective
from skltransfer._networks._plan import TRAINING_PARAMETERS, Plan
from skltransfer._parameters import Choice, Count, Flag, Number, check_parameters
from skltransfer._solvers._classes import (
    decisions,
    log_probabilities,
    predicted_codes,
    probabilities,
)
from skltransfer._torch._augmentation import MIXES, names_of
from skltransfer._torch._image_columns import as_items
from skltransfer._torch._rows import (
    ImageArrayRows,
    Rows,
    TableRows,
    check_dimensions,
    check_images_for,
    n_dimensions_of_images,
    read_rows,
)
from skltransfer._torch._store_parameter import KeepsFeatures, StoreParameter, resolve_store
from skltransfer._torch._text import TextRows, warn_of_cut_texts
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import takes_text
from skltransfer.backbones._load import warn_if_not_preprocessed
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.backbones._sentence_transformers import is_sentence_transformer
from skltransfer.backbones._table import flatten_images
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._refit import fits_anew, fits_on


class NetworkEstimator(KeepsFeatures, HoldsByReference, DocumentedEstimator):
    """Read what the parameters `backbone` and ``X`` of an estimator stand for.

    A subclass has the parameters `backbone`, `weights`, `image_shape`, `value_range` and
    `random_state`.
    """

    _held = ("backbone",)

    def _load(self, rows: Rows | None) -> Backbone | None:
        """Return the record of the backbone; None for the table network."""
        if self.backbone is None:
            return None
        shape = rows.shape if rows is not None and callable(self.backbone) else None
        # A generator would give other weights with every call.
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        record = load_backbone(
            self.backbone, self.weights, random_state=int(seed), input_shape=shape
        )
        if rows is not None:
            check_images_for(record.name, record.preprocessing, rows)
            warn_if_not_preprocessed(self.backbone, self.weights, record, rows)
        return record

    def _look_at_lengths(self, record: Backbone | None, *parts: Rows) -> None:
        """Tokenize all texts, and warn once, before a long training, if some are cut."""
        texts = [rows for rows in parts if isinstance(rows, TextRows)]
        if record is not None and texts:
            for rows in texts:
                rows.tokenize(record.preprocessing)
            warn_of_cut_texts(texts, record.preprocessing, record.name)

    def _rows(self, X, *, reset: bool, is_text: bool | None = None) -> Rows:
        """Read rows of any form; remember their width if `reset`, else check it."""
        if not reset:
            check_dimensions(getattr(self, "_n_dimensions", None), X)
        if is_text is None:
            is_text = self.backbone is not None and self._takes_text(reset)
        rows = read_rows(
            self,
            X,
            reset=reset,
            image_shape=self.image_shape,
            value_range=self.value_range,
            is_text=is_text,
        )
        if reset:
            self._n_dimensions = n_dimensions_of_images(X)
        if self.backbone is not None or isinstance(rows, TableRows):
            return rows
        if as_items(X) is not None:
            raise TypeError(
                "X holds paths, images or texts, which backbone=None cannot turn into numbers. "
                "Name a backbone: 'tiny' or 'efficientnet_lite0' for images, 'minilm' or 'hf:...' "
                "for texts."
            )
        return flatten_images(rows) if isinstance(rows, ImageArrayRows) else rows

    def _takes_text(self, reset: bool) -> bool:
        # Only the network can tell a text from the path of an image.
        if callable(self.backbone) and not is_sentence_transformer(self.backbone):
            return False
        if not reset:  # what the network was made from may be gone
            return takes_text(self._built.record)
        return takes_text(self._load(None))

    def _read_attributes(self) -> dict:
        """Return the fitted attributes that come from the rows."""
        names = ("n_features_in_", "feature_names_in_", "_n_dimensions")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_callback_fit_ctx", None)
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
        return tags


class FittedNetwork(NetworkEstimator):
    """An estimator with a network that was trained on labels, as it predicts.

    Its fitted attributes are ``_built`` and ``_labels``.
    """

    @property
    def network_(self):
        """The trained network with its head, in evaluation mode."""
        return self._built.network

    def _attributes(self, fitting: Fitting, *, is_running: bool = False) -> dict:
        """Return the fitted attributes; with a copy of the network while training goes on."""
        return fitting.attributes(is_running=is_running) | self._read_attributes()

    def _network_features(self, X) -> np.ndarray:
        rows = self._rows_to_predict(X)
        features = self._built.features(rows, self._feature_store())
        self._warn_of_cut_texts(rows)
        return features

    def _outputs(self, X) -> np.ndarray:
        """Return the network's outputs, shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        rows = self._rows_to_predict(X)
        outputs = self._built.outputs(rows, self._feature_store())
        self._warn_of_cut_texts(rows)
        return outputs

    def _feature_store(self):
        return resolve_store(getattr(self, "store", "memory"))

    def _warn_of_cut_texts(self, rows: Rows) -> None:
        if isinstance(rows, TextRows):
            record = self._built.record
            warn_of_cut_texts([rows], record.preprocessing, record.name)

    def _rows_to_predict(self, X) -> Rows:
        rows = self._rows(X, reset=False)
        if self.backbone is not None:
            built = self._built
            check_images_for(built.record.name, built.held.preprocessing, rows)
        return rows

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_built")

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained network, without its head, as a start for another estimator."""
        if not hasattr(self, "_built"):
            raise unfitted_backbone(self)
        if not hasattr(self, "_record"):
            self._record = self._built.trained_record()
        return self._record

    def __getstate__(self):
        state = super().__getstate__()
        for name in ("_record", "_optimizer"):
            state.pop(name, None)
        if self.backbone is not None and "_built" in state:
            # The weights at the start are in `backbone`, and read from it when needed.
            state["_built"] = state["_built"].without_source()
        return state


class EpochReports:
    """Tell callbacks when an epoch begins and ends, and pass on that one asks to stop.

    Parameters
    ----------
    task : FitTask
        The fit.
    snapshot : callable or None
        Returns the fitted attributes, as a dictionary; called only if a callback asks. ``None``:
        nothing can predict before training has ended.
    history : list of dict, optional
        Gets the record of each epoch.
    """

    def __init__(self, task: FitTask, snapshot: Callable[[], dict] | None, history=None):
        self._task, self._snapshot, self._history = task, snapshot, history

    def begin(self) -> None:
        """Say that an epoch begins."""
        self._epoch = self._task.part("epoch")

    def end(self, record: dict) -> bool:
        """Say that an epoch has ended; return whether training is to stop.

        The record is no metadata: a monitor would pass it on to its scorer.
        """
        if self._history is not None:
            self._history.append(record)
        return self._epoch.end(self._snapshot)


class FineTuning(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, FittedNetwork
):
    """Train a pretrained network, or its output layer, on the rows of a task.

    A subclass says what the labels are in `_encode`, and what is minimised in `_objective`.
    """

    _parameters = TRAINING_PARAMETERS | {
        "strategy": Choice("finetune", "linear_probe", "lp_ft"),
        "norm_statistics": Choice("auto", "keep", "learn"),
        "backbone_lr_ratio": Number(0, unset=("auto",)),
        "layer_decay": Number(0, 1),
        "dropout": Number(0, 1, high_open=True),
        "validation_fraction": Number(0, 1, high_open=True),
        "ema_decay": Number(0, 1, high_open=True, unset=(None,)),
        "gradual_unfreezing": Count(0),
        "accumulate": Count(),
        "n_views": Count(unset=(None,)),
        "patience": Count(),
        "tol": Number(0),
        "early_stopping": Flag(),
        "warm_start": Flag(),
        "store": StoreParameter(),
    }

    @property
    def cached_stage_(self) -> str | None:
        """Deepest of the frozen stages whose outputs were kept in `fit`."""
        return self._built.cached_stage

    def _check_combinations(self):
        mixes = [policy for policy in names_of(self.augment) if policy in MIXES]
        if self.n_views is not None and mixes:
            raise ValueError(
                f"n_views={self.n_views!r} draws views of one sample at a time, and "
                f"augment={self.augment!r} mixes samples. Leave {mixes[0]!r} out, or set "
                "n_views=None."
            )
        if self.gradual_unfreezing and self.strategy in ("lora", "linear_probe"):
            raise ValueError(
                f"gradual_unfreezing={self.gradual_unfreezing!r} has nothing to unfreeze with "
                f"strategy={self.strategy!r}. Set it to 0, or choose strategy='finetune' or "
                "'lp_ft'."
            )

    @with_callbacks
    def fit(self, X, y, sample_weight=None) -> Self:
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
        return self._fit_domains(X, y, sample_weight)

    @with_callbacks
    def _fit_to_target(
        self, X, y, sample_weight, X_target, target_weights, adapt, *, validates_on_target=False
    ):
        """Train on samples of two domains.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As for `fit`.
        X_target : array-like
            Samples of the target.
        target_weights : ndarray of shape (n_target_samples,), or None
            Weights of these samples.
        adapt : callable
            Takes the :class:`Objective` of this estimator and the :class:`Fitting`, and returns an
            objective for batches of both domains, see
            :class:`~skltransfer._torch._batches.TwoDomainBatch`.
        validates_on_target : bool, default=False
            Whether early stopping judges the predictions on the target, without labels, and sets no
            samples aside.
        """
        return self._fit_domains(
            X, y, sample_weight, X_target, target_weights, adapt, validates_on_target
        )

    @with_callbacks
    def _fit_further(self, X, y, sample_weight, adapt):
        """Go on from the last fit, with `warm_start`, on samples that may lack some classes.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As for `fit`.
        adapt : callable
            Takes the :class:`Objective` of this estimator and the :class:`Fitting`, and returns the
            objective that is trained on.
        """
        return self._fit_domains(X, y, sample_weight, adapt=adapt, lacks_classes=True)

    @fits_anew
    def _fit_domains(
        self,
        X,
        y,
        sample_weight,
        X_target=None,
        target_weights=None,
        adapt=None,
        validates_on_target=False,
        lacks_classes=False,
    ):
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=None)
        check_parameters(self)
        earlier = self._earlier_fit() if self.warm_start else None
        plan, data = self._checked(X, y, sample_weight, earlier, is_partial=lacks_classes)
        validation = None
        if plan.early_stopping and not validates_on_target:
            data, validation = data.split(plan)
        record, target = self._load(data.rows), None
        if X_target is not None:
            rows = self._rows(X_target, reset=False, is_text=isinstance(data.rows, TextRows))
            if record is not None:
                check_images_for(record.name, record.preprocessing, rows)
            target = Data(rows, weights=target_weights)
            if plan.early_stopping and validates_on_target:
                validation = target
        parts = [part.rows for part in (data, validation, target) if part is not None]
        self._look_at_lengths(record, *parts)
        fitting = Fitting(
            plan,
            record,
            data,
            self._objective if adapt is None else lambda f: adapt(self._objective(f), f),
            validation=validation,
            target=target,
            earlier=earlier and earlier[0],
        )
        fitting.train(EpochReports(task, lambda: self._attributes(fitting, is_running=True)))
        for name in ("_record", "_optimizer"):  # of the network before
            vars(self).pop(name, None)
        vars(self).update(self._attributes(fitting))
        task.end({})
        return self

    @with_callbacks
    @fits_anew
    def _fit_in_episodes(self, X, y, episodes):
        """Train on episodes that are drawn from labelled samples.

        Parameters
        ----------
        X, y : array-like
            As for `fit`.
        episodes : object
            ``settings(labels)`` returns fields of the :class:`Plan` that episodes decide;
            ``objective(fitting)`` and ``batches(fitting)`` what a :class:`Fitting` takes. Unless
            ``are_drawn``, the network is built and not trained.
        """
        task = FitTask.begin(self, X, y, max_subtasks=None)
        check_parameters(self)
        plan, data = self._checked(X, y, None, None, settings=episodes.settings)
        record = self._load(data.rows)
        self._look_at_lengths(record, data.rows)
        objective, batches = episodes.objective, episodes.batches
        fitting = Fitting(plan, record, data, objective, batches_of=batches)
        if episodes.are_drawn:
            fitting.train(EpochReports(task, None))  # the classes of episodes are not those of `y`
        else:
            fitting.built.is_frozen = True
        vars(self).update(self._attributes(fitting))
        task.end({})
        return self

    @fits_on
    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
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
        check_parameters(self)
        if self.strategy == "lora":
            raise ValueError(
                "partial_fit cannot go on with strategy='lora', whose changes are added to the "
                "weights at the end. Use fit, or strategy='finetune' or 'linear_probe'."
            )
        earlier = self._earlier_fit()
        plan, data = self._checked(X, y, sample_weight, earlier, classes, is_partial=True)
        history = getattr(self, "history_", [])
        record = self._load(data.rows)
        self._look_at_lengths(record, data.rows)
        fitting = Fitting(
            plan,
            record,
            data,
            self._objective,
            earlier=earlier and earlier[0],
        )
        optimizer = fitting.train_one_epoch(getattr(self, "_optimizer", None), len(history))
        vars(self).update(self._attributes(fitting))
        vars(self).pop("_record", None)  # the network has moved on
        self.history_ = history + [r | {"epoch": len(history) + 1} for r in self.history_]
        self.n_iter_ = len(self.history_)
        self._optimizer = optimizer
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
        return self._network_features(X)

    # --- what a subclass says ----------------------------------------------------------

    @abstractmethod
    def _encode(self, y, known: Labels | None, classes, is_partial: bool) -> Labels:
        """Validate labels; `known` belong to an earlier fit that this one continues."""

    def _objective(self, fitting: Fitting) -> Objective:
        """Return what is minimised."""
        return LabelLoss(fitting.data.labels)

    # --- fitting -----------------------------------------------------------------------

    def _checked(
        self, X, y, sample_weight, earlier, classes=None, is_partial=False, settings=None
    ) -> tuple[Plan, Data]:
        """Validate rows, labels and weights; drop the rows that weigh nothing."""
        rows = self._rows(X, reset=earlier is None)
        if len(rows) == 0:
            raise ValueError("X has 0 sample(s). At least one row is needed to train on.")
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_consistent_length(range(len(rows)), y)
        labels = self._encode(y, earlier and earlier[1], classes, is_partial)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, labels.targets, dtype=np.float64, ensure_non_negative=True
            )
        settings = {"is_one_course": not is_partial} if settings is None else settings(labels)
        plan = Plan.of(self, rows, **settings)
        return plan, Data(rows, labels, weights).prepared(plan, merges=not is_partial)

    def _earlier_fit(self) -> tuple[Built, Labels] | None:
        """Return what `warm_start` and `partial_fit` go on from."""
        return (self._built, self._labels) if hasattr(self, "_built") else None

    @property
    def _n_features_out(self) -> int:
        return self._built.n_features


class NetworkClassifier(ClassifierMixin, FineTuning):
    """What classifiers that train a network share: labels in, probabilities out."""

    _parameters = {"label_smoothing": Number(0, 1, high_open=True), "balanced_batches": Flag()}

    def _encode(self, y, known, classes, is_partial):
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        check_classification_targets(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with several classes each. Columns of 0 and 1 are labels of "
                "one task; for several tasks use MultiTaskClassifier, or put this estimator into "
                "sklearn.multioutput.MultiOutputClassifier."
            )
        known = None if known is None else known.attributes["classes_"]
        is_multilabel = kind == "multilabel-indicator"
        if is_multilabel:
            y = check_array(y, accept_sparse=True, dtype=np.float64, input_name="y")
            y = y.toarray() if hasattr(y, "toarray") else y
            if self.class_weight is not None or self.balanced_batches:
                raise ValueError(
                    "class_weight and balanced_batches need one class per row, and y has several "
                    "labels per row. Pass sample_weight instead."
                )
            names = np.arange(y.shape[1])
            self._check_known(known, names, names)
            return Classes(
                y,
                y.shape[1],
                {"classes_": names},
                label_smoothing=self.label_smoothing,
                is_multilabel=True,
            )
        y = column_or_1d(y, warn=True)
        found = np.unique(y)
        if known is None:
            known = found if classes is None else np.unique(column_or_1d(classes))
            if is_partial and classes is None:
                raise ValueError(
                    "classes= is missing: the first call of partial_fit needs all classes that "
                    "will ever come."
                )
        elif not is_partial and not np.array_equal(known, found):
            raise ValueError(
                f"warm_start=True goes on with the classes {known.tolist()}, and y holds "
                f"{found.tolist()}. Set warm_start=False, or pass the fitted estimator as the "
                "backbone of a new one."
            )
        if known is not found:
            self._check_known(known, classes, found)
        if len(known) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes, and y holds one class, "
                f"{known.tolist()[0]!r}."
            )
        codes = np.searchsorted(known, y)
        n_outputs = 1 if len(known) == 2 else len(known)
        return Classes(
            codes,
            n_outputs,
            {"classes_": known},
            codes,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
        )

    def _check_known(self, known, classes, found) -> None:
        if known is None:
            return
        if classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(
                f"classes={np.asarray(classes).tolist()} differ from the first call's, "
                f"{known.tolist()}. Make a new estimator for other classes."
            )
        unseen = np.setdiff1d(found, known)
        if len(unseen):
            raise ValueError(
                f"y holds {unseen.tolist()[:5]}, which is not among the classes "
                f"{known.tolist()}. Name all classes in the first call of partial_fit, or pass the "
                "fitted estimator as the backbone of a new one."
            )

    def decision_function(self, X):
        """Compute the logits.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the logit of the second.
        """
        outputs = self._outputs(X)
        return outputs if self._labels.is_multilabel else decisions(outputs)

    def predict(self, X):
        """Predict the most probable class, or the labels that are more probable than not.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        outputs = self._outputs(X)
        if self._labels.is_multilabel:
            return (outputs > 0).astype(int)
        return self.classes_[predicted_codes(outputs)]

    def predict_proba(self, X):
        """Predict the probability of each class, or of each label.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Columns in the order of ``classes_``. Labels are independent of each other.
        """
        outputs = self._outputs(X)
        return expit(outputs) if self._labels.is_multilabel else probabilities(outputs)

    def predict_log_proba(self, X):
        """Predict the logarithm of the probabilities.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
        """
        outputs = self._outputs(X)
        if self._labels.is_multilabel:
            return -np.logaddexp(0.0, -outputs)
        return log_probabilities(outputs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetworkRegressor(RegressorMixin, FineTuning):
    """What regressors that train a network share: numbers in, numbers out."""

    def _encode(self, y, known, classes, is_partial):
        if classes is not None:
            raise ValueError("classes= is for classifiers.")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.ndim > 2:
            raise ValueError(f"y has {y.ndim} dimensions. Pass one number, or one row, per sample.")
        is_flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        labels = Numbers(y, y.shape[1], {"_is_flat": is_flat})
        if known is not None:
            labels.mean, labels.scale = known.mean, known.scale
            if known.n_outputs != labels.n_outputs:
                raise ValueError(
                    f"y has {labels.n_outputs} outputs, and this estimator goes on from "
                    f"{known.n_outputs}. Set warm_start=False, or make a new estimator."
                )
        return labels

    def predict(self, X):
        """Predict the numbers.

        Parameters
        ----------
        X : array-like
            Rows of the task.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs = self._outputs(X) * self._labels.scale + self._labels.mean
        return outputs[:, 0] if self._is_flat else outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
