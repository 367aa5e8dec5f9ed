"""Agreement of several parties on one minimiser, from solutions of their own problems alone."""

from __future__ import annotations

import numpy as np

# Differences of earlier rounds that an extrapolation uses.
_MEMORY = 40
# Directions in which rounds hardly differ, relative to the largest, are left out.
_CUTOFF = 1e-10
# A round that leaves this many times the smallest residual is undone.
_LARGEST_GROWTH = 2.0


class Consensus:
    r"""Consensus ADMM for :math:`\min_w \sum_k p_k f_k(w)`, with Anderson's extrapolation.

    In each round, party `k` solves
    :math:`w_k = \arg\min f_k(w) + \frac{\mu}{2} \lVert w - a_k \rVert^2` for the anchor
    :math:`a_k = z - u_k`, with the common :math:`z = \sum_k p_k v_k`, :math:`v_k = z + u_k` and
    the scaled dual variables :math:`u_k` [1]_. A round maps :math:`v_k` to
    :math:`v_k + w_k - z`, whose fixed point is the minimiser for any :math:`\mu > 0`. For quadratic
    :math:`f_k` the map is affine, and the extrapolation [2]_ is equivalent to GMRES.

    Parameters
    ----------
    shares : ndarray of shape (n_parties,)
        ``p``, at least 0 with sum 1.
    start : ndarray of shape (d,)
        First ``z``.

    Attributes
    ----------
    residual : float
        Root of the mean squared distance of the ``w_k`` of the last round from ``z``, relative to
        the norm of ``z``, or to 1 if that is larger.

    References
    ----------
    .. [1] S. Boyd et al., "Distributed Optimization and Statistical Learning via the Alternating
       Direction Method of Multipliers", Foundations and Trends in Machine Learning 3, 2011,
       section 7.1.
    .. [2] H. F. Walker, P. Ni, "Anderson Acceleration for Fixed-Point Iterations", SIAM J. Numer.
       Anal. 49, 2011, equation (2.2).
    """

    def __init__(self, shares: np.ndarray, start: np.ndarray):
        self.shares = shares[:, None]
        self.v = np.tile(start, (len(shares), 1))
        self.residual = np.inf
        self._forget()

    def _forget(self) -> None:
        self._past = []  # pairs of v and what a plain round adds to it
        self._smallest, self._best = np.inf, None

    @property
    def z(self) -> np.ndarray:
        """Return what the parties agree on so far, shape (d,)."""
        return (self.shares * self.v).sum(axis=0)

    def anchors(self) -> np.ndarray:
        """Return where each party is pulled to, shape (n_parties, d)."""
        return 2 * self.z - self.v

    def update(self, w: np.ndarray) -> bool:
        """Take the solutions of a round, shape (n_parties, d); tell if they are the closest yet."""
        z = self.z
        g = w - z
        norm = self._norm(g)
        self.residual = norm / max(1.0, float(np.linalg.norm(z)))
        if norm > _LARGEST_GROWTH * self._smallest:
            # The extrapolation has failed. A plain round never moves away from the fixed points.
            self.v = sum(self._best)
            self._forget()
            return False
        is_closest = norm < self._smallest
        if is_closest:
            self._smallest, self._best = norm, (self.v, g)
        self._past = [*self._past, (self.v, g)][-_MEMORY - 1 :]
        self.v = self.v + g
        if len(self._past) > 1:
            V, G = (np.diff(np.stack(values), axis=0) for values in zip(*self._past, strict=True))
            root = np.sqrt(self.shares)
            columns = (root * G).reshape(len(G), -1).T
            gamma = np.linalg.lstsq(columns, (root * g).ravel(), rcond=_CUTOFF)[0]
            self.v = self.v - np.tensordot(gamma, V + G, axes=1)
        return is_closest

    def _norm(self, g) -> float:
        return float(np.sqrt((self.shares * g**2).sum()))
