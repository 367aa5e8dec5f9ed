"""Transfer component analysis."""

from __future__ import annotations

from skltransfer._solvers._transfer_components import domain_differences
from skltransfer.feature._kernel_aligner import KernelAligner


class TCA(KernelAligner):
    r"""Map the rows of both domains to components along which the domains agree.

    Transfer component analysis [1]_ looks for directions in the feature space of a kernel along
    which all rows scatter widely, while the means of the two domains lie close together (their
    maximum mean discrepancy is small):

    .. math::

        \min_W \; \mathrm{tr}\,(W^\top K M K W) + \lambda \, \mathrm{tr}\,(W^\top W)
        \quad \text{subject to} \quad W^\top K H K W = I

    with the kernel matrix :math:`K` of the source and target rows together, the centring matrix
    :math:`H`, and :math:`M = l l^\top / l^\top l`, where :math:`l` is :math:`1/n` for source rows
    and :math:`-1/m` for target rows. Both domains are mapped alike, by one map. The problem is
    solved exactly, and `residual_` proves it.

    Parameters
    ----------
    n_components : int, default=None
        Components to compute; 10 to 100 are usual. ``None``: as many as there are columns, or
        one less than there are rows.
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
        Weight :math:`\lambda` of the size of :math:`W` against the distance of the domains:
        smaller values bring the domains closer. See the notes for other conventions.
    form : {"dual", "primal"}, default="dual"
        ``"dual"`` penalises the coefficients of the rows, as above. ``"primal"``, for
        ``kernel="linear"`` only, penalises the projection :math:`A` of the columns instead:
        :math:`X` stands for :math:`K`, and :math:`A` for :math:`W`. Its components are others.
    tol : float, default=1e-9
        Relative residual of the eigenproblem to reach.

    Attributes
    ----------
    eigenvalues_ : ndarray of shape (n_components,)
        Largest first: the sum of squares of each component, about its mean, over the rows of both
        domains.
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
        Largest relative residual of the eigenproblem: every eigenvalue lies within that part of
        itself of an exact one; those of components without scatter, which are 0, within that part
        of the largest.
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
    JDA : Brings the classes of the domains together as well.
    WithTarget : Holds the target's rows.
    WithSource : Holds the source's data, for cross-validation on the target.

    Notes
    -----
    Other conventions, for n source and m target rows: with ``mu`` as in [1]_, where the
    components are eigenvectors of ``(K L K + mu I)^{-1} K H K`` and ``L = l l'``, it is
    ``regularization = mu / (1/n + 1/m)``; with ``mu`` on the other term, as in
    ``(I + mu K L K)^{-1} K H K`` of other libraries, it is
    ``regularization = 1 / (mu * (1/n + 1/m))``. The components have the scale at which
    ``W' (K M K + regularization * I) W = I``, so that leading components vary more than the
    others; the published protocols divide each row by its norm afterwards
    (:class:`~sklearn.preprocessing.Normalizer`). Each component has the sign that makes the
    largest of its weights positive.

    Scale the columns first: the kernel weighs all alike.

    Memory grows with the square of the number of rows, except for ``kernel="linear"`` with fewer
    columns than rows; then the problem is solved in as many dimensions as there are columns.
    With the linear kernel, `transform` multiplies by one matrix; else it computes the kernel
    between a row and all fitted rows.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang, "Domain Adaptation via Transfer Component
       Analysis", IEEE Transactions on Neural Networks 22(2), 2011, section III.

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
        n_components=None,
        *,
        kernel="linear",
        gamma="scale",
        degree=3,
        coef0=1,
        kernel_params=None,
        regularization=1.0,
        form="dual",
        tol=1e-9,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.regularization = regularization
        self.form = form
        self.tol = tol

    def _align(self, X, y, X_target, y_target):
        n, spaces = len(X), self._start(X, X_target)
        if X_target is None:
            mapped = self._solve_without_target(spaces, n)
        else:
            mapped = self._solve(spaces, domain_differences(n, len(X_target)), n)
        self._warn_unless_certified()
        return mapped
