"""Joint distribution adaptation."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skltransfer._options import check_count
from skltransfer._solvers._transfer_components import domain_differences
from skltransfer.domains._data import as_labels, check_no_missing_labels, known_labels
from skltransfer.feature._aligner import LabelledAligner
from skltransfer.feature._kernel_aligner import TILE_VALUES, KernelAligner


class JDA(KernelAligner, LabelledAligner):
    r"""Map both domains to components along which they, and each of their classes, agree.

    Joint distribution adaptation [1]_ is :class:`TCA` with one more condition: for every class,
    the mean of its source rows and the mean of its target rows are to lie close together. Where
    the labels of the target are not known, a classifier trained on the mapped source rows guesses
    them (pseudo-labels); components and pseudo-labels are computed in turn:

    .. math::

        \min_W \; \mathrm{tr}\,(W^\top K M K W) + \lambda \, \mathrm{tr}\,(W^\top W)
        \quad \text{subject to} \quad W^\top K H K W = I

    with :math:`M = \sum_{c=0}^{C} l_c l_c^\top / \|\sum_{c=0}^{C} l_c l_c^\top\|_F`, where
    :math:`l_0` is :math:`1/n` for source rows and :math:`-1/m` for target rows, and :math:`l_c`
    the same among the rows of class c (0 for others). A class that either domain lacks is left
    out. The rounds' problems are solved exactly, and `residual_` proves it of the last.

    Parameters
    ----------
    n_components : int, default=None
        Components to compute; 10 to 100 are usual. ``None``: as many as there are columns, or
        one less than there are rows.
    estimator : classifier, default=None
        Gives the pseudo-labels: a clone is fitted in every round on the mapped source rows and
        their labels. ``None``: the nearest neighbour.
    kernel : str or callable, default="linear"
        ``"rbf"``, ``"laplacian"``, ``"linear"``, ``"poly"`` (or ``"polynomial"``), ``"sigmoid"``,
        ``"cosine"`` or ``"chi2"``, as in scikit-learn's ``pairwise_kernels``. A callable takes two
        arrays of rows and returns their kernel matrix. ``"chi2"`` needs values of at least 0.
    gamma : float or "scale", default="scale"
        Width of the rbf, laplacian, polynomial, sigmoid and chi2 kernels, larger is narrower.
        ``"scale"`` is 1 / (n_features * variance of the stacked rows of both domains); for chi2
        it is 1 / (mean sum of a row).
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Keywords for a kernel that is a callable; ignored by the others.
    regularization : float, default=1.0
        Weight :math:`\lambda` of the size of :math:`W` against the distance of the domains and
        classes: smaller values bring them closer.
    form : {"dual", "primal"}, default="dual"
        ``"dual"`` penalises the coefficients of the rows, as above. ``"primal"``, for
        ``kernel="linear"`` only, penalises the projection :math:`A` of the columns instead:
        :math:`X` stands for :math:`K`, and :math:`A` for :math:`W`. Its components are others.
    normalize_rows : bool, default=True
        Whether mapped rows are divided by their norms, as in the published protocol: those that
        the classifier sees, and those that `transform` returns.
    max_iter : int, default=10
        Largest number of rounds. They end earlier when the pseudo-labels no longer change.
    tol : float, default=1e-9
        Relative residual of the eigenproblem to reach.

    Attributes
    ----------
    pseudo_labels_ : ndarray of shape (n_target_samples,)
        Labels of the target rows after the last round; known ones as they are. Empty where no
        target was given.
    n_iter_ : int
        Number of rounds; 1 without target rows.
    eigenvalues_ : ndarray of shape (n_components,)
        Largest first: the sum of squares of each component, about its mean, over the rows of both
        domains, before rows are normalised.
    weights_ : ndarray of shape (n_rows, n_components) or (n_features, n_components)
        What the kernel values between a row and `rows_` are multiplied by; for
        ``kernel="linear"`` what the row's columns are multiplied by.
    rows_ : ndarray of shape (n_rows, n_features) or None
        The fitted rows, source above target (for the rbf kernel less their median); None for
        ``kernel="linear"``.
    offset_ : ndarray of shape (n_components,)
        What is subtracted from the components: 0, unless `fit` was given no target.
    gamma_ : float or None
        Width that was used; None for ``kernel="linear"``.
    residual_ : float
        Largest relative residual of the eigenproblem, over all rounds: every eigenvalue lies
        within that part of itself of an exact one; those of components without scatter, which are
        0, within that part of the largest.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    Warns
    -----
    ConvergenceWarning
        If the residual is larger than `tol`, where eigenvalues are too small for float64.
    DomainDataWarning
        If no target rows are given: the components are then those of kernel PCA of the source.

    See Also
    --------
    TCA : The same without labels.
    WithTarget : Holds the target's rows.
    WithSource : Holds the source's data, for cross-validation on the target.

    Notes
    -----
    The first round knows of the classes only what `y_target` tells of them: without it, it is
    :class:`TCA`. Known target labels stand in place of pseudo-labels; the classifier is trained on
    source rows alone.

    The published protocol divides the rows by their norms before, too
    (:class:`~sklearn.preprocessing.Normalizer`), and classifies by the nearest neighbour. The
    authors' program multiplies :math:`l_0 l_0^\top` by the number of classes, which the paper
    does not, and neither does this class.

    Wrong pseudo-labels pull classes together that do not belong together: compare with
    :class:`TCA` and with no adaptation.

    M has at most C + 1 dimensions, so that each round takes a fraction of the time of a dense
    eigenproblem. On the scale of the components, their signs, and memory, see :class:`TCA`.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu, "Transfer Feature Learning with Joint
       Distribution Adaptation", ICCV 2013, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skltransfer import JDA
    >>> rng = np.random.default_rng(0)
    >>> y = y_target = np.repeat(["ant", "bee"], 50)
    >>> centers = np.where(y == "bee", 2, -2)[:, None]
    >>> X = rng.normal(size=(100, 5)) + centers
    >>> X_target = rng.normal(size=(100, 5)) + centers + [5, -5, 0, 0, 0]
    >>> jda = JDA(n_components=3)
    >>> nearest = KNeighborsClassifier(1).fit(jda.fit_transform(X, y, X_target=X_target), y)
    >>> bool(nearest.score(jda.transform(X_target), y_target) > 0.95)
    True
    >>> jda.pseudo_labels_[[0, -1]]
    array(['ant', 'bee'], dtype='<U3')
    """

    def __init__(
        self,
        n_components=None,
        *,
        estimator=None,
        kernel="linear",
        gamma="scale",
        degree=3,
        coef0=1,
        kernel_params=None,
        regularization=1.0,
        form="dual",
        normalize_rows=True,
        max_iter=10,
        tol=1e-9,
    ):
        self.n_components = n_components
        self.estimator = estimator
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.regularization = regularization
        self.form = form
        self.normalize_rows = normalize_rows
        self.max_iter = max_iter
        self.tol = tol

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_count(self, "max_iter")
        if not isinstance(self.normalize_rows, bool | np.bool_):
            raise ValueError(f"normalize_rows={self.normalize_rows!r} is neither True nor False.")
        for method in ("fit", "predict"):
            if self.estimator is not None and not hasattr(self.estimator, method):
                raise TypeError(
                    f"estimator={self.estimator!r} has no {method}. Pass a classifier, or None for "
                    "the nearest neighbour."
                )

    def _map(self, X) -> np.ndarray:
        return self._scaled(super()._map(X))

    def _scaled(self, mapped) -> np.ndarray:
        if self.normalize_rows:
            norms = np.linalg.norm(mapped, axis=1, keepdims=True)
            mapped /= np.where(norms > 0, norms, 1.0)
        return mapped

    def _align(self, X, y, X_target, y_target):
        if X_target is None:
            self.pseudo_labels_, self.n_iter_ = np.empty(0), 1
            mapped = self._scaled(self._solve_without_target(self._start(X, None), len(X)))
        else:
            y = _source_labels(y, X)
            known = known_labels(y_target, X_target, y)
            mapped = self._adapt(self._start(X, X_target), X, y, X_target, *known)
        self._warn_unless_certified()
        return mapped[: len(X)]

    def _guess(self, source, y, target) -> np.ndarray:
        if self.estimator is None:
            return y[_nearest(target, source)]
        return np.asarray(clone(self.estimator).fit(source, y).predict(target))

    def _adapt(self, spaces, X, y, X_target, known, labels) -> np.ndarray:
        """Compute components and pseudo-labels in turn, and return all rows mapped."""
        n, m = len(X), len(X_target)
        classes, source = np.unique(y, return_inverse=True)
        target = np.full(m, -1)  # of no class
        target[known] = _codes(labels, classes)
        residual = 0.0
        for n_iter in range(1, self.max_iter + 1):  # noqa: B007
            mapped = self._solve(spaces, domain_differences(n, m, source, target), n + m)
            mapped, residual = self._scaled(mapped), max(residual, self.residual_)
            guessed = self._guess(mapped[:n], y, mapped[n:])
            before, target = target, _codes(guessed, classes)
            target[known] = before[known]
            if np.array_equal(target, before):
                break
        self.n_iter_, self.residual_ = n_iter, residual
        kinds = [guessed.dtype] + [labels.dtype] * bool(known.any())
        self.pseudo_labels_ = guessed.astype(np.result_type(*kinds))
        self.pseudo_labels_[known] = labels
        return mapped


def _nearest(target, source) -> np.ndarray:
    """Return the position of the source row that is nearest to each target row."""
    halves, step = 0.5 * np.einsum("ij,ij->i", source, source), max(TILE_VALUES // len(source), 1)
    parts = (target[i : i + step] for i in range(0, len(target), step))
    return np.concatenate([(halves - part @ source.T).argmin(axis=1) for part in parts])


def _source_labels(y, X) -> np.ndarray:
    if y is None:
        raise ValueError(
            "JDA needs the labels of the source beside X_target. Pass y to fit, or take TCA, which "
            "needs none."
        )
    check_no_missing_labels(y)
    y = as_labels(y)
    if y.dtype.kind == "O":
        y = np.array(y.tolist())
    if y.ndim != 1:
        y = column_or_1d(y, warn=True)
    if len(y) != len(X):
        check_consistent_length(X, y)
    if y.dtype.kind == "f":  # others are labels
        check_classification_targets(y)
    return y


def _codes(labels, classes) -> np.ndarray:
    """Return the position of each label among the sorted classes, -1 for others."""
    if len(labels) == 0:
        return np.empty(0, dtype=int)
    positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[positions] == labels, positions, -1)
