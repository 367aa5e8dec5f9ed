"""Classes by their names: texts as the coefficients of a linear classifier of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import normalize
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Number, check_parameters
from skltransfer._persisted import SavedAsData
from skltransfer._solvers._classes import (
    check_several_classes,
    decisions,
    log_probabilities,
    predicted_codes,
    probabilities,
)
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import takes_text
from skltransfer.backbones._huggingface import PREFIX, text_tower_of
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._refit import fits_anew
from skltransfer.feature._pretrained import PretrainedFeatureTransformer

# Of networks that do not say it: the default of sentence-transformers' ranking loss.
_LOGIT_SCALE = 20.0
_PLACE = "{}"


class ZeroShotClassifier(SavedAsData, HoldsByReference, ClassifierMixin, DocumentedEstimator):
    r"""Classify embeddings by the names of the classes, without labels.

    A network with two towers, such as CLIP, embeds images and texts in one space. Class names are
    put into sentences, and the score of a class is the cosine of an image's embedding and the mean
    embedding of the sentences [1]_:

    .. math::

        w_c = \frac{\sum_t z_{ct}}{\lVert \sum_t z_{ct} \rVert}, \qquad
        \text{score}_c(x) = s \, \frac{x^\top w_c}{\lVert x \rVert} + b

    with the embedding :math:`z_{ct}`, of length one, of sentence :math:`t` for class :math:`c`.
    ``X`` holds embeddings of images, which a
    :class:`~skltransfer.PretrainedFeatureTransformer` with the same `backbone` gives. Nothing is
    trained, and the labels are not needed.

    Parameters
    ----------
    backbone : str, Backbone, other form of a backbone or None, default=None
        Network that embeds the texts: the ``"hf:..."`` name of a network with two towers, of which
        the text tower is taken, or any text encoder whose space is that of ``X``. ``None`` reads no
        text: :math:`w_c` is then made of the samples of class :math:`c` in ``X, y``, as the
        baseline in a grid, and `class_names` and `templates` are not used.
    class_names : list of str, or dict, default=None
        Names of the classes, which are the labels as well; or a dictionary of labels, each with its
        name or a list of its names (synonyms). ``None`` takes the labels in ``y``, which have to be
        texts.
    templates : str or list of str, default=("a photo of a {}.",)
        Sentences in which ``{}`` stands for the name. All sentences of a class, one for each of its
        names and templates, count alike.
    logit_scale : "auto" or float, default="auto"
        Factor :math:`s` of a cosine, at least 0. It does not change predictions, but how sure they
        are. ``"auto"`` is the factor that the network was trained with, or 20 if it has none.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    class_features_ : ndarray of shape (n_classes, n_features)
        Embeddings :math:`w_c` of the classes, of length one.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients for embeddings of length one: ``logit_scale_ * class_features_``, or the
        difference of both rows for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The number :math:`b` that the network adds, which only SigLIP has; 0 for two classes.
    logit_scale_ : float
        Factor of a cosine.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if ``X`` has column names that are all strings.

    See Also
    --------
    PretrainedFeatureTransformer : Embeddings of images, and of texts by ``"hf:NAME#text"``.
    TransferLogisticRegression : A linear probe near this classifier, as its ``source``.
    interpolate_weights : Weights between this classifier and a trained one.

    Notes
    -----
    ``coef_`` and ``intercept_`` are those of a linear classifier, so that this estimator is a
    source of :class:`~skltransfer.TransferLogisticRegression`; its classes are matched by their
    labels. The embeddings of a network with two towers have length one. Put scikit-learn's
    ``Normalizer`` before the probe where those of another network do not.

    The probabilities are the softmax of the scores. SigLIP is trained with one logistic loss for
    each pair, and the sigmoid of ``decision_function`` is its probability of one class, regardless
    of the others, where there are more than two classes.

    References
    ----------
    .. [1] A. Radford et al., "Learning Transferable Visual Models From Natural Language
       Supervision", ICML 2021, sections 3.1.2 and 3.1.4.

    Examples
    --------
    With a network, see the guide. Without one, each class is the mean of its samples:

    >>> from sklearn.datasets import load_iris
    >>> from skltransfer import ZeroShotClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ZeroShotClassifier().fit(X[::5], y[::5])
    >>> model.coef_.shape
    (3, 4)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _held = ("backbone",)
    _parameters = {"logit_scale": Number(0, np.inf, high_open=True, unset=("auto",))}

    def __init__(
        self,
        backbone=None,
        class_names=None,
        *,
        templates: str | Sequence[str] = ("a photo of a {}.",),
        logit_scale: str | float = "auto",
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates
        self.logit_scale = logit_scale

    @fits_anew
    def fit(self, X, y=None):
        """Embed the class names; nothing is trained.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, whose number of columns is remembered.
        y : array-like of shape (n_samples,), default=None
            Labels. They are needed only if `backbone` or `class_names` is None, and are otherwise
            checked to be among the classes.

        Returns
        -------
        self : ZeroShotClassifier
        """
        check_parameters(self)
        if y is not None:
            X, y = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(y)
        elif self.backbone is None or self.class_names is None:
            missing = "backbone" if self.backbone is None else "class_names"
            raise ValueError(
                f"{type(self).__name__} with {missing}=None requires y to be passed, but the "
                f"target y is None. Pass y, or {missing}."
            )
        else:
            X = validate_data(self, X, dtype=np.float64)
        scale, bias = _LOGIT_SCALE, 0.0
        if self.backbone is None:
            check_several_classes(self, np.unique(y))
            self.classes_, codes = np.unique(y, return_inverse=True)
            embeddings = normalize(X)
        else:
            names = self._names(y)
            self.classes_ = _as_classes(names)
            prompts = [self._prompts(names[label]) for label in self.classes_.tolist()]
            codes = np.repeat(np.arange(len(prompts)), list(map(len, prompts)))
            record = self._text_encoder()
            embeddings = _embedded(record, sum(prompts, []))
            self._check_width(embeddings.shape[1], record.name)
            from skltransfer.backbones._two_towers import TextTower

            if isinstance(record.module, TextTower):  # other modules may hold a logarithm
                scale, bias = record.module.logit_scale, record.module.logit_bias
        sums = np.zeros((len(self.classes_), embeddings.shape[1]))
        np.add.at(sums, codes, embeddings)
        self.class_features_ = normalize(sums)
        self.logit_scale_ = float(scale if self.logit_scale == "auto" else self.logit_scale)
        self.coef_ = self.logit_scale_ * self.class_features_
        self.intercept_ = np.full(len(self.classes_), float(bias))
        if len(self.classes_) == 2:
            self.coef_ = self.coef_[1:] - self.coef_[:1]
            self.intercept_ = np.zeros(1)
        return self

    def decision_function(self, X):
        """Compute the scaled cosines.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of any length.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the classes; for two classes, that of the second minus that of the first.
        """
        return decisions(self._logits(X))

    def predict(self, X):
        """Predict the class of the largest cosine.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of any length.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        codes = predicted_codes(self._logits(X))
        return self.classes_[codes]

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of any length.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return probabilities(self._logits(X))

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of any length.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return log_probabilities(self._logits(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.backbone is None or self.class_names is None
        return tags

    def _logits(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return normalize(X) @ self.coef_.T + self.intercept_

    # --- names and sentences -----------------------------------------------------------

    def _names(self, y) -> dict:
        """Return the names of each label, of which those in `y` have to be some."""
        given = self.class_names
        if given is None:
            labels = np.unique(y).tolist()
            if not all(isinstance(label, str) for label in labels):
                raise ValueError(
                    f"class_names is None, and the labels in y are no texts, such as {labels[0]!r}."
                    " Pass a dictionary of labels and names, class_names={0: 'cat', 1: 'dog'}."
                )
            names = {label: [label] for label in labels}
        elif isinstance(given, Mapping):
            names = {
                label: [texts] if isinstance(texts, str) else _as_list("class_names", texts)
                for label, texts in given.items()
            }
        else:
            given = _as_list("class_names", given)
            names = {name: [name] for name in given}
            if len(names) < len(given):
                raise ValueError("class_names holds a name twice. Name each class once.")
        for label, texts in names.items():
            if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
                raise ValueError(
                    f"The class {label!r} has the names {texts!r}. Pass one text, or a list of "
                    "texts, that are not empty."
                )
        if len(names) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes, and class_names or y holds "
                f"{len(names)} class."
            )
        unknown = [] if y is None else sorted(set(np.unique(y).tolist()) - set(names), key=str)
        if unknown:
            raise ValueError(
                f"y holds {unknown[:5]}, which class_names does not name: {list(names)[:5]}. Write "
                "labels and names in one way; ensembles that encode labels need a dictionary of "
                "the codes."
            )
        return names

    def _prompts(self, names: list[str]) -> list[str]:
        is_one = isinstance(self.templates, str)
        templates = [self.templates] if is_one else _as_list("templates", self.templates)
        if not templates or not all(isinstance(t, str) and _PLACE in t for t in templates):
            raise ValueError(
                f"templates={self.templates!r} has to hold at least one text, each with {_PLACE} "
                "in the place of the name."
            )
        return [template.replace(_PLACE, name) for name in names for template in templates]

    def _text_encoder(self) -> Backbone:
        backbone = self.backbone
        if isinstance(backbone, str) and backbone.startswith(PREFIX):
            backbone = text_tower_of(backbone)
        record = load_backbone(backbone)
        if not takes_text(record):
            raise ValueError(
                f"backbone={self.backbone!r} takes no texts. Pass the 'hf:...' name of a network "
                "with towers of images and texts, or a text encoder."
            )
        return record

    def _check_width(self, width: int, name: str) -> None:
        if width != self.n_features_in_:
            raise ValueError(
                f"X has {self.n_features_in_} features, and {name!r} embeds texts in {width}. X "
                "has to hold embeddings of the same space: put "
                "PretrainedFeatureTransformer(backbone) with the same backbone before."
            )


def _as_list(name: str, value) -> list:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(
            f"{name}={value!r} of type {type(value).__name__} is no list. Pass a list of texts."
        )
    return list(value)


def _as_classes(names: dict) -> np.ndarray:
    classes = np.unique(np.array(list(names)))
    if set(classes.tolist()) != set(names):
        raise ValueError(
            f"class_names mixes labels of several types, {list(names)[:5]}. Use texts alone, or "
            "numbers alone."
        )
    return classes


def _embedded(record: Backbone, prompts: list[str]) -> np.ndarray:
    """Return the embeddings of sentences, of length one."""
    features = PretrainedFeatureTransformer(record).fit_transform(prompts)
    return normalize(features.astype(np.float64))
