"""Joint distribution adaptation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets

from skltransfer._parameters import Count, Flag
from skltransfer._solvers._nearest import nearest_rows
from skltransfer._solvers._transfer_components import domain_differences
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import known_labels
from skltransfer.feature._aligner import LabelledAligner, class_numbers, source_labels
from skltransfer.feature._kernel_aligner import KernelAligner


class JDA(KernelAligner, LabelledAligner):
    r"""Map both domains to components along which they, and each of their classes, agree.

    Joint distribution adaptation [1]_ extends :class:`TCA` by one condition for each class: the
    mean of its source samples and the mean of its target samples lie close together. If labels of
    the target are unknown, a classifier trained on the mapped source samples predicts them
    (pseudo-labels). Components and pseudo-labels are computed in turn:

    .. math::

        \min_W \; \mathrm{tr}\,(W^\top K M K W) + \lambda \, \mathrm{tr}\,(W^\top W)
        \quad \text{subject to} \quad W^\top K H K W = I

    with :math:`M = \sum_{c=0}^{C} l_c l_c^\top / \|\sum_{c=0}^{C} l_c l_c^\top\|_F`, where
    :math:`l_0` is :math:`1/n` for source samples and :math:`-1/m` for target samples, and
    :math:`l_c` is the same among the samples of class c and 0 elsewhere. A class that is missing
    in one domain is left out. The problem of each round is solved exactly, and `residual_`
    certifies the solutions.

    Parameters
    ----------
    n_components : int, default=20
        Largest number of components; there are no more than samples and, for
        ``kernel="linear"``, features. The literature takes 100 for images. ``None`` is the number
        of features, or the number of samples less 1 if that is smaller.
    estimator : classifier, default=None
        Classifier that predicts the pseudo-labels. In every round a clone is fitted on the mapped
        source samples. ``None`` is the nearest neighbour.
    kernel : str or callable, default="linear"
        Kernel: ``"rbf"``, ``"laplacian"``, ``"linear"``, ``"poly"`` (or ``"polynomial"``),
        ``"sigmoid"``, ``"cosine"`` or ``"chi2"``, as in
        :func:`~sklearn.metrics.pairwise.pairwise_kernels`. A callable takes two arrays of samples
        and returns their kernel matrix. ``"chi2"`` needs non-negative features.
    gamma : float or "scale", default="scale"
        Coefficient of the rbf, laplacian, polynomial, sigmoid and chi2 kernels. A larger value is a
        narrower kernel. ``"scale"`` is 1 / (sum of the features' variances over the samples of
        both domains). For chi2 it is 1 / (mean sum of a sample's features).
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant term of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Keyword arguments for a kernel that is a callable. Other kernels ignore them.
    regularization : float or "auto", default="auto"
        Weight :math:`\lambda` of the size of :math:`W` against the distance of the domains and
        classes. A smaller value brings them closer together.
        ``"auto"`` is ``1 / (1/n + 1/m)`` for ``"primal"``, so that the squared distance of the
        means of standardised features counts as much as the size of :math:`A`, and 1, the value of
        the literature, for ``"dual"``.
    form : {"auto", "dual", "primal"}, default="auto"
        ``"dual"`` penalises the coefficients of the samples, as above. ``"primal"`` penalises the
        projection :math:`A` of the features: :math:`X` stands for :math:`K`, and :math:`A` for
        :math:`W`. It needs ``kernel="linear"`` and finds other components than ``"dual"``.
        ``"auto"`` is ``"primal"`` for the linear kernel and ``"dual"`` for others.
    unit_variance : bool, default=True
        Whether all components are divided by one number, so that the first has variance 1 over the
        samples of both domains. Otherwise their size depends on `regularization`, and a penalised
        model behind them is stopped by small ones. False is the scale of the literature.
    normalize_rows : bool, default=False
        Whether mapped samples are divided by their norms, as in the published protocol for images.
        This concerns the classifier's input and the output of `transform`. Samples of tables have
        no common length.
    max_iter : int, default=10
        Largest number of rounds. Rounds end earlier if the pseudo-labels no longer change.
    n_landmarks : int, "auto" or None, default="auto"
        Number of samples, the landmarks, whose kernel values make up the components
        (Nyström approximation [2]_). They are drawn at random, half of them from each domain.
        ``None`` is all samples: the solution is exact. ``"auto"`` is all of them up to 10 000
        samples of both domains together, and 500 beyond. The linear kernel is always exact.
    tol : float, default=1e-9
        Relative residual of the eigenproblem at which the solver stops.
    random_state : int, RandomState or None, default=0
        Choice of the landmarks.

    Attributes
    ----------
    pseudo_labels_ : ndarray of shape (n_target_samples,)
        Labels of the target samples after the last round. Known labels are kept. Empty without
        target samples.
    n_iter_ : int
        Number of rounds; 1 without target samples.
    eigenvalues_ : ndarray of shape (n_components,)
        Sum of squares of each component about its mean, over the samples of both domains, in
        descending order, before samples are divided by their norms, and components by `scale_`.
    weights_ : ndarray of shape (n_fitted, n_components) or (n_features, n_components)
        Coefficients of the components: of the kernel values between a sample and `rows_`, or of
        the features for ``kernel="linear"``.
    rows_ : ndarray of shape (n_fitted, n_features) or None
        Samples seen in `fit`, source above target, or the landmarks among them. For the rbf
        kernel the median of all samples is subtracted. None for ``kernel="linear"``.
    offset_ : ndarray of shape (n_components,)
        Offset that is subtracted from the components. It is 0 if target samples were given.
    gamma_ : float or None
        Coefficient of the kernel, None for ``kernel="linear"``.
    scale_ : float
        Number by which components were divided; 1 for ``unit_variance=False``, and if no target
        samples were given.
    residual_ : float
        Largest relative residual of the eigenproblems of all rounds. The relative error of each
        eigenvalue is at most this number. The error of eigenvalues that are 0 is relative to the
        largest one.
    n_landmarks_ : int or None
        Number of landmarks; None if the solution is exact.
    kernel_error_ : float
        Error of the approximation of the kernel matrix :math:`K`, 0 if the solution is exact:
        the sum over all samples of the differences from ``k(x, x)``, relative to the trace of
        :math:`K`. For positive semi-definite kernels it is the trace norm of the error, which
        bounds the Frobenius norm and the error of each eigenvalue of :math:`K`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If a component that is large enough to matter may be wrong by a thousandth of its
        eigenvalue, because features or kernel values differ too much in scale.
    DomainDataWarning
        If no target samples are given. The components are then the kernel principal components of
        the source.
    KernelWidthWarning
        If the kernel is nearly constant over the samples, or an identity.

    See Also
    --------
    TCA : Aligns the domains without labels.
    WithTarget : Holds the target's samples.
    WithSource : Holds the source's data, for cross-validation on the target.

    Notes
    -----
    Without `y_target`, the first round is :class:`TCA`. Known target labels replace pseudo-labels.
    The classifier is trained on source samples only.

    The published protocol also divides the samples by their norms beforehand
    (:class:`~sklearn.preprocessing.Normalizer`), and classifies by the nearest neighbour. The
    authors' program multiplies :math:`l_0 l_0^\top` by the number of classes. The paper does not,
    and neither does this class.

    Wrong pseudo-labels pull different classes together. Compare with :class:`TCA` and with no
    adaptation.

    The rank of M is at most C + 1, so that each round takes a fraction of the time of a dense
    eigenproblem. :class:`TCA` explains the scale of the components and their signs.

    Costs are those of :class:`TCA`, and in each round: with landmarks, two passes over the kernel
    between all samples and the landmarks; for ``estimator=None``, the nearest of n source samples
    for each of m target samples, O(n m) time (O(m log n) up to 5 components) and O(n + m) memory.
    Any other classifier costs what it costs.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu, "Transfer Feature Learning with Joint
       Distribution Adaptation", ICCV 2013, section 3.
    .. [2] C. K. I. Williams, M. Seeger, "Using the Nyström Method to Speed Up Kernel Machines",
       NIPS 2000.

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

    _parameters = {"normalize_rows": Flag(), "max_iter": Count()}

    def __init__(
        self,
        n_components: int = 20,
        *,
        estimator=None,
        kernel: str | Callable = "linear",
        gamma: float | str = "scale",
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict | None = None,
        regularization: float | str = "auto",
        form: str = "auto",
        unit_variance: bool = True,
        normalize_rows: bool = False,
        max_iter: int = 10,
        n_landmarks: int | str | None = "auto",
        tol: float = 1e-9,
        random_state: int | np.random.RandomState | None = 0,
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
        self.unit_variance = unit_variance
        self.normalize_rows = normalize_rows
        self.max_iter = max_iter
        self.n_landmarks = n_landmarks
        self.tol = tol
        self.random_state = random_state

    def _check_combinations(self) -> None:
        super()._check_combinations()
        for method in ("fit", "predict"):
            if self.estimator is not None and not hasattr(self.estimator, method):
                raise TypeError(
                    f"estimator={self.estimator!r} has no {method}. Pass a classifier, or None for "
                    "the nearest neighbour."
                )

    def _map_target(self, X):
        return self._scaled(super()._map_target(X))

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
            if y is None:
                raise ValueError("JDA needs the labels of the source. Pass y to fit, or use TCA.")
            y = source_labels(y, X)
            if y.dtype.kind == "f":  # others are labels
                check_classification_targets(y)
            compare_classes(y, y_target)
            known = known_labels(y_target, X_target, y)
            mapped = self._adapt(self._start(X, X_target), X, y, X_target, *known)
        self._warn_unless_certain()
        return mapped[: len(X)]

    def _guess(self, source, y, target) -> np.ndarray:
        if self.estimator is None:
            return y[nearest_rows(target, source)]
        return np.asarray(clone(self.estimator).fit(source, y).predict(target))

    def _adapt(self, spaces, X, y, X_target, known, labels) -> np.ndarray:
        """Compute components and pseudo-labels in turn, and return all rows mapped."""
        n, m = len(X), len(X_target)
        classes, source = np.unique(y, return_inverse=True)
        target = np.full(m, -1)  # of no class
        target[known] = class_numbers(labels, classes)
        residual = 0.0
        for n_iter in range(1, self.max_iter + 1):  # noqa: B007
            mapped = self._solve(spaces, domain_differences(n, m, source, target), n + m)
            mapped, residual = self._scaled(mapped), max(residual, self.residual_)
            guessed = self._guess(mapped[:n], y, mapped[n:])
            before, target = target, class_numbers(guessed, classes)
            target[known] = before[known]
            if np.array_equal(target, before):
                break
        self.n_iter_, self.residual_ = n_iter, residual
        kinds = [guessed.dtype] + [labels.dtype] * bool(known.any())
        self.pseudo_labels_ = guessed.astype(np.result_type(*kinds))
        self.pseudo_labels_[known] = labels
        return mapped
