"""Transfer component analysis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skltransfer._solvers._transfer_components import domain_differences
from skltransfer.feature._kernel_aligner import KernelAligner


class TCA(KernelAligner):
    r"""Map both domains to components along which the domains agree.

    Transfer component analysis [1]_ searches the feature space of a kernel for directions along
    which the samples scatter widely and the means of the two domains lie close together (their
    maximum mean discrepancy is small):

    .. math::

        \min_W \; \mathrm{tr}\,(W^\top K M K W) + \lambda \, \mathrm{tr}\,(W^\top W)
        \quad \text{subject to} \quad W^\top K H K W = I

    with the kernel matrix :math:`K` of the source and target samples together, the centring matrix
    :math:`H`, and :math:`M = l l^\top / l^\top l`, where :math:`l` is :math:`1/n` for source
    samples and :math:`-1/m` for target samples. One map serves both domains. The problem is solved
    exactly, and `residual_` certifies the solution.

    Parameters
    ----------
    n_components : int, default=20
        Largest number of components; there are no more than samples and, for
        ``kernel="linear"``, features. The literature takes 100 for images. ``None`` is the number
        of features, or the number of samples less 1 if that is smaller.
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
        Weight :math:`\lambda` of the size of :math:`W` against the distance of the domains. A
        smaller value brings the domains closer together. The notes convert other conventions.
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
    eigenvalues_ : ndarray of shape (n_components,)
        Sum of squares of each component about its mean, over the samples of both domains, in
        descending order, before they are divided by `scale_`.
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
        Largest relative residual of the eigenproblem. The relative error of each eigenvalue is at
        most this number. The error of eigenvalues that are 0 is relative to the largest one.
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
    JDA : Brings the classes of the domains together as well.
    WithTarget : Holds the target's samples.
    WithSource : Holds the source's data, for cross-validation on the target.

    Notes
    -----
    Other programs scale the parameter differently. Let there be n source and m target samples. If
    the components are eigenvectors of ``(K L K + mu I)^{-1} K H K`` with ``L = l l'``, as in [1]_,
    then ``regularization = mu / (1/n + 1/m)``. If they are eigenvectors of
    ``(I + mu K L K)^{-1} K H K``, then ``regularization = 1 / (mu * (1/n + 1/m))``.

    Before they are divided by `scale_`, ``W' (K M K + regularization * I) W = I``: leading
    components vary more than the others. The published protocols divide each sample by its norm
    afterwards (:class:`~sklearn.preprocessing.Normalizer`). The largest weight of each component is
    positive.

    Scale the features first, because the kernel treats all alike.

    With ``kernel="linear"``, tensors and other arrays of scikit-learn's array API are mapped in
    their own library, on their device.

    Costs, with N samples of both domains, d features and p landmarks:

    - ``kernel="linear"``, d < N: O(N d\ :sup:`2`) time and O(N d) memory. The problem is solved in
      d dimensions, and `transform` multiplies by one matrix.
    - other kernels, exact: O(N\ :sup:`2`) time and 8 N\ :sup:`2` bytes. `transform` computes the
      kernel between a sample and all fitted samples.
    - other kernels, landmarks: O(N p (d + p)) time and O(N (d + `n_components`) + p\ :sup:`2`)
      memory. Kernel values are computed again whenever they are needed, and the fitted object keeps
      the landmarks alone.

    `kernel_error_` is computed from all samples, so that it is no estimate. If it is above 0.2 or
    so, the later components are inaccurate: raise `n_landmarks`, or lower `gamma`.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang, "Domain Adaptation via Transfer Component
       Analysis", IEEE Transactions on Neural Networks 22(2), 2011, section III.
    .. [2] C. K. I. Williams, M. Seeger, "Using the Nyström Method to Speed Up Kernel Machines",
       NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import TCA
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(100, 5)), rng.normal(size=(80, 5)) + [3, 0, 0, 0, 0]
    >>> tca = TCA(n_components=2, kernel="rbf", regularization=0.1)
    >>> X_new = tca.fit_transform(X, X_target=X_target)
    >>> X_target_new = tca.transform(X_target)
    >>> gap = np.linalg.norm(X_new.mean(axis=0) - X_target_new.mean(axis=0))
    >>> bool(gap < 0.1 * X_new.std())
    True
    >>> tca.residual_ < 1e-9
    True
    """

    def __init__(
        self,
        n_components: int = 20,
        *,
        kernel: str | Callable = "linear",
        gamma: float | str = "scale",
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict | None = None,
        regularization: float | str = "auto",
        form: str = "auto",
        unit_variance: bool = True,
        n_landmarks: int | str | None = "auto",
        tol: float = 1e-9,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.regularization = regularization
        self.form = form
        self.unit_variance = unit_variance
        self.n_landmarks = n_landmarks
        self.tol = tol
        self.random_state = random_state

    @property
    def _fitted_array(self):
        return "weights_" if self._is_linear() else None

    def _align(self, X, y, X_target, y_target):
        n, spaces = X.shape[0], self._start(X, X_target)
        if X_target is None:
            mapped = self._solve_without_target(spaces, n)
        else:
            mapped = self._solve(spaces, domain_differences(n, X_target.shape[0]), n)
        self._warn_unless_certain()
        return mapped
