"""What classifiers and regressors that train a network share."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from skltransfer._networks._estimators import FineTuning
from skltransfer._networks._labels import Classes, Numbers


class NetworkClassifier(ClassifierMixin, FineTuning):
    """What classifiers that train a network share: labels in, probabilities out."""

    def _encode(self, y, earlier, classes, is_partial):
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        check_classification_targets(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with several classes each. Columns of 0 and 1 are labels of "
                "one task; for several tasks use MultiTaskClassifier, or put this estimator into "
                "sklearn.multioutput.MultiOutputClassifier."
            )
        known = None if earlier is None else earlier[1].attributes["classes_"]
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
            return self._problem_of(y, y.shape[1], {"classes_": names}, None, True)
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
        self._check_known(known, classes, found)
        if len(known) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes, and y holds one class, "
                f"{known.tolist()[0]!r}."
            )
        codes = np.searchsorted(known, y)
        n_outputs = 1 if len(known) == 2 else len(known)
        return self._problem_of(codes, n_outputs, {"classes_": known}, codes, False)

    def _check_known(self, known, classes, found) -> None:
        if known is None:
            return
        if classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(
                f"classes={np.asarray(classes).tolist()} are not those of the first call, "
                f"{known.tolist()}. Make a new estimator for other classes."
            )
        unseen = np.setdiff1d(found, known)
        if len(unseen):
            raise ValueError(
                f"y holds {unseen.tolist()[:5]}, which is not among the classes "
                f"{known.tolist()}. Name all classes in the first call of partial_fit, or pass the "
                "fitted estimator as the backbone of a new one."
            )

    def _problem_of(self, targets, n_outputs, attributes, codes, is_multilabel):
        return Classes(
            targets,
            n_outputs,
            attributes,
            codes,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            is_multilabel=is_multilabel,
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
        return outputs[:, 0] if self._is_binary else outputs

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
        if self._problem.is_multilabel:
            return (outputs > 0).astype(int)
        codes = (outputs[:, 0] > 0).astype(int) if self._is_binary else outputs.argmax(axis=1)
        return self.classes_[codes]

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
        if self._is_binary:
            return np.column_stack([expit(-outputs[:, 0]), expit(outputs[:, 0])])
        return expit(outputs) if self._problem.is_multilabel else softmax(outputs, axis=1)

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
        if self._is_binary:
            return -np.logaddexp(0.0, np.column_stack([outputs[:, 0], -outputs[:, 0]]))
        if self._problem.is_multilabel:
            return -np.logaddexp(0.0, -outputs)
        return log_softmax(outputs, axis=1)

    @property
    def _is_binary(self) -> bool:
        return self._problem.n_outputs == 1 and not self._problem.is_multilabel

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetworkRegressor(RegressorMixin, FineTuning):
    """What regressors that train a network share: numbers in, numbers out."""

    def _encode(self, y, earlier, classes, is_partial):
        if classes is not None:
            raise ValueError("classes= is for classifiers.")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.ndim > 2:
            raise ValueError(f"y has {y.ndim} dimensions. Pass one number, or one row, per sample.")
        is_flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        problem = Numbers(y, y.shape[1], {"_is_flat": is_flat})
        if earlier is not None:
            problem.mean, problem.scale = earlier[1].mean, earlier[1].scale
            if earlier[1].n_outputs != problem.n_outputs:
                raise ValueError(
                    f"y has {problem.n_outputs} outputs, and this estimator goes on from "
                    f"{earlier[1].n_outputs}. Set warm_start=False, or make a new estimator."
                )
        return problem

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
        outputs = self._outputs(X) * self._problem.scale + self._problem.mean
        return outputs[:, 0] if self._is_flat else outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
