"""Linear models in a federation."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from skltransfer._parameters import check_parameters
from skltransfer.federated._learners import CLASSES, MU, N_EXAMPLES, NAMES, Counts, Learner
from skltransfer.parameter._linear import (
    Strength,
    check_finite_fit,
    check_range,
    penalty_on_coefficients,
)
from skltransfer.parameter._source import match_classes, match_features, read_source


class LinearLearner(Learner):
    r"""``TransferRidge`` or ``TransferLogisticRegression`` in a federation.

    A client minimises its loss, its share of the estimator's own penalty, and the proximal term
    :math:`n_k \frac{\mu}{2} \lVert w - z \rVert^2`: squared distances from two points, which
    together are one from a point between them. It is one fit of the estimator near that point.
    """

    is_convex = True

    def __init__(self, estimator):
        super().__init__(estimator)
        check_parameters(estimator)
        self._is_classifier = is_classifier(estimator)
        # Near the curvature of the mean loss along standardised features.
        self.default_mu = 0.3 if self._is_classifier else 1.0
        self._source = None if estimator.source is None else read_source(estimator.source)
        self._check_strengths()

    def _check_strengths(self) -> None:
        estimator = self.estimator
        remedy = "needs the samples of all clients at once. Pass"
        if self._source is not None:
            if isinstance(estimator.alpha, str):
                raise ValueError(f"alpha='auto' {remedy} a number.")
            if not np.isfinite(estimator.alpha).all():
                raise ValueError("alpha=inf keeps the source: nothing is left to train. Lower it.")
            if self._source.intercept is not None and estimator.penalize_intercept == "auto":
                raise ValueError(f"penalize_intercept='auto' {remedy} True or False.")
        if getattr(estimator, "class_weight", None) == "balanced":
            raise ValueError(f"class_weight='balanced' {remedy} a dictionary.")

    # --- at the server -----------------------------------------------------------------

    def config(self, classes, feature_names) -> dict:
        """Check and return what all clients have to know."""
        config = {}
        if self._is_classifier:
            if classes is None and self._source is not None:
                classes = self._source.classes
            if classes is None:
                raise ValueError(
                    "classes is missing: a client may lack some. Pass all classes that will come."
                )
            classes = np.unique(column_or_1d(classes))
            if len(classes) < 2:
                raise ValueError(f"classes={classes.tolist()} holds fewer than 2 classes.")
            config[CLASSES] = classes.tolist()
        elif classes is not None:
            raise ValueError("classes= is for classifiers.")
        if feature_names is None and self._source is not None:
            feature_names = self._source.feature_names
        if feature_names is not None:
            config[NAMES] = [str(name) for name in feature_names]
        return config

    def start(self, counts: Counts, config: dict) -> dict:
        """Return the coefficients of the source, or zeros."""
        names = config.get(NAMES)
        if names is not None and len(names) != counts.n_features:
            raise ValueError(
                f"There are {len(names)} feature names, and the clients have {counts.n_features} "
                "features. Let load_data return the same columns as the source has."
            )
        n_outputs = counts.n_outputs
        if self._is_classifier:
            n_classes = len(config[CLASSES])
            n_outputs = 1 if n_classes == 2 else n_classes
        coef, intercept = self._carried(n_outputs, counts.n_features, config)
        if intercept is None:
            intercept = np.zeros(len(coef))
        return {"coef": np.array(coef), "intercept": np.array(intercept)}

    def fitted(self, weights: dict, config: dict):
        """Return the estimator with coefficients that clients have agreed on."""
        model = clone(self.estimator)
        coef, intercept = weights["coef"], weights["intercept"]
        self._set_outputs(model, config, coef)
        carried = self._carried(*coef.shape, config)
        model.source_coef_, model.source_intercept_ = model._fitted_form(*carried)
        model.coef_, model.intercept_ = model._fitted_form(coef, intercept)
        model.n_features_in_ = coef.shape[1]
        if NAMES in config:
            model.feature_names_in_ = np.array(config[NAMES], dtype=object)
        return model

    # --- at a client -------------------------------------------------------------------

    def trained(self, weights: dict, config: dict, X, y, sample_weight) -> dict:
        """Return the coefficients near those of the server that suit a client's samples."""
        model = clone(self.estimator).set_params(penalize_intercept=True)
        X, y = self._rows(model, config, X, y)
        n_examples = len(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            check_range(sample_weight, "sample_weight")
            n_examples = sample_weight.sum()
        z, z_0 = weights["coef"], weights["intercept"]
        self._set_outputs(model, config, z)
        source, source_0 = self._carried(*z.shape, config)
        own, own_0 = self._own_strengths(*z.shape, source_0 is not None)
        share = n_examples / config[N_EXAMPLES]
        # The mean loss has the weight of the samples; TransferRidge has no half in its penalty.
        pull = config.get(MU, 0.0) * n_examples * (1.0 if self._is_classifier else 0.5)
        coef, on_coef = _between(source, share * own, z, pull)
        intercept, on_intercept = _between(
            z_0 if source_0 is None else source_0, share * own_0, z_0, pull
        )
        self._check_classes(y, config, on_intercept)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            strength = Strength(on_coef, on_intercept[:, None])
            coef, intercept = model._solve(X, y, sample_weight, coef, intercept, strength)
        check_finite_fit(coef, intercept)
        return {"coef": coef, "intercept": intercept}

    def _rows(self, model, config, X, y):
        if self._is_classifier:
            X, y = validate_data(model, X, y, accept_sparse="csr", dtype=np.float64)
            check_classification_targets(y)
            unknown = np.setdiff1d(y, config[CLASSES])
            if len(unknown):
                raise ValueError(
                    f"y holds {unknown.tolist()[:5]}, which is not among the classes "
                    f"{config[CLASSES]} of the federation. Name all of them in server_app."
                )
            y = y.astype(np.array(config[CLASSES]).dtype)
        else:
            X, y = model._check_rows(X, y)
        check_range(X, "X")
        check_range(y, "y")
        names, own = config.get(NAMES), getattr(model, "feature_names_in_", None)
        if names is not None and own is not None:
            position = {name: i for i, name in enumerate(own)}
            missing = [name for name in names if name not in position]
            if missing or len(own) != len(names):
                raise ValueError(
                    f"X has the columns {own.tolist()[:5]}, and the federation "
                    f"{names[:5]}. Let load_data return the federation's columns."
                )
            X = X[:, [position[name] for name in names]]
        return X, y

    def _check_classes(self, y, config, on_intercept) -> None:
        if not self._is_classifier or not self.estimator.fit_intercept:
            return
        missing = np.setdiff1d(config[CLASSES], y)
        if len(missing) and not on_intercept.all():
            raise ValueError(
                f"y lacks the classes {missing.tolist()[:5]}, whose intercepts nothing keeps "
                "finite. Choose strategy='fedadmm' or 'fedprox' in server_app."
            )

    # --- at both -----------------------------------------------------------------------

    def _carried(self, n_outputs: int, n_features: int, config: dict):
        """Return the source's coefficients and intercept (or None) for all clients' features."""
        if self._source is None:
            return np.zeros((n_outputs, n_features)), None
        names = config.get(NAMES)
        coef, intercept = match_features(self._source, names, n_features), self._source.intercept
        if self._is_classifier:
            classes = np.array(config[CLASSES])
            coef, intercept = match_classes(coef, intercept, self._source.classes, classes)
        if len(coef) != n_outputs:
            raise ValueError(
                f"source has coefficients for {len(coef)} outputs, and the clients have "
                f"{n_outputs}. Match them."
            )
        return coef, intercept

    def _own_strengths(self, n_outputs: int, n_features: int, has_intercept: bool):
        """Return the estimator's own penalties on coefficients (k, d) and intercepts (k,)."""
        estimator = self.estimator
        alpha = estimator.source_alpha if self._source is None else estimator.alpha
        on_coef = penalty_on_coefficients(alpha, n_outputs, n_features)
        if has_intercept and estimator.penalize_intercept:
            return on_coef, on_coef.mean(axis=1)
        return on_coef, np.zeros(n_outputs)

    def _set_outputs(self, model, config: dict, coef) -> None:
        if self._is_classifier:
            model.classes_ = np.array(config[CLASSES])
        else:
            model._is_single = len(coef) == 1


def _between(a, alpha, b, beta):
    """Return the point and the strength of one pull in the place of those to `a` and `b`."""
    total = alpha + beta
    share = np.divide(alpha, total, out=np.zeros_like(total), where=total > 0)
    return b + share * (a - b), total
