"""TrAdaBoost: raise weights of hard target samples, and reduce contradicting source samples."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.multiclass import check_classification_targets

from skltransfer._parameters import Flag
from skltransfer._solvers._boosting import boost_target, log_source_factor, vote_of
from skltransfer.instance._boosting import TransferBoosting, spread
from skltransfer.instance._rounds import BoostingData, Rule, run_rounds


class TrAdaBoost(TransferBoosting):
    """The rounds of TrAdaBoost; a subclass defines losses and votes in `_rule`."""

    _parameters = {"store_weights": Flag()}

    @abstractmethod
    def _rule(self, data: BoostingData) -> Rule:
        """Return the judgement of a learner."""

    def _boost(self, fits, data, used, task):
        n_source = data.n_source
        log_beta = log_source_factor(data.source_size, self.n_estimators)

        def update(factors, losses, vote):
            boost_target(factors, losses, n_source, log_beta, vote)

        def fitted(rounds):
            return self._fitted(rounds, votes_by_half=data.has_target)

        rounds = run_rounds(
            fits,
            data,
            self._rule(data),
            self.n_estimators,
            update,
            judged=slice(n_source, None),
            store_weights=self.store_weights,
            task=task,
            fitted=fitted,
        )
        vars(self).update(fitted(rounds))
        self.sample_weight_ = spread(rounds.weights[-1], used)[: len(used) - data.n_target]
        if self.store_weights:
            self.sample_weight_history_ = spread(np.array(rounds.weights), used)
        return rounds


class TrAdaBoostClassifier(ClassifierMixin, TrAdaBoost):
    r"""AdaBoost that reduces the weights of source samples which contradict the target.

    Boosts a base classifier on source samples and labelled target samples together [1]_. In each
    round the error :math:`\epsilon_t` of the classifier is taken on the *target* samples alone.
    Misclassified target samples gain weight, as in AdaBoost. Misclassified source samples lose
    weight, because they seem to follow another concept:

    .. math::

        w_i \leftarrow w_i \, \beta_t^{-[h_t(x_i) \ne y_i]} \;\text{(target)}, \quad
        \beta_t = \frac{\epsilon_t}{(1 - \epsilon_t)(K - 1)}; \qquad
        w_i \leftarrow w_i \, \beta^{[h_t(x_i) \ne y_i]} \;\text{(source)}, \quad
        \beta = \frac{1}{1 + \sqrt{2 \ln n / N}}

    for ``K`` classes, ``n`` source samples and ``N`` rounds. The later half of the learners,
    :math:`t \ge \lceil N/2 \rceil`, votes with the weights :math:`\ln(1/\beta_t)`. For two classes
    this is the published algorithm. For more classes, the factor ``K - 1`` of SAMME [2]_ requires a
    learner to be better than a guess among ``K`` classes, not better than 1/2.

    Parameters
    ----------
    estimator : classifier, default=None
        Base classifier whose ``fit`` takes ``sample_weight``, or a pipeline that ends in one. It is
        cloned for each round. ``None`` is a decision tree just deep enough for a leaf of each
        class, ``DecisionTreeClassifier(max_depth=ceil(log2(K)))``: a stump for two classes.
    n_estimators : int, default=50
        Largest number of rounds (``N``).
    store_weights : bool, default=True
        Whether to keep `sample_weight_history_`, which takes 8 bytes per sample and round.
    target_weight : float or "balanced", default=1.0
        Initial weight of each target sample with a known label, where source samples weigh 1.
        ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over both.
    random_state : int, RandomState instance or None, default=0
        Seed of the base classifiers, if they have a ``random_state``.

    Attributes
    ----------
    estimators_ : list of classifiers
        Learners, one per round.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Votes :math:`\ln(1/\beta_t)` of the learners. Only the later half of the learners votes.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted errors of the learners on the target samples.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples after the last round.
    sample_weight_history_ : ndarray of shape (n_rounds + 1, n_samples + n_labelled_target)
        Weights of each round, and the weights after the last round. Source samples come first, then
        the target samples with a known label and a weight above 0. The sum is constant. Set if
        `store_weights` is True.
    classes_ : ndarray of shape (n_classes,)
        Classes of both domains.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    DomainDataWarning
        If no label of a target sample is known. The source alone is then boosted by AdaBoost.
    ConvergenceWarning
        If the first learner is the only one: it is no better than a guess, or makes no error on the
        target, or the next one is no better than a guess.

    See Also
    --------
    TrAdaBoostRegressor : Boosts regressors in the same way.
    PooledEstimator : The baseline, in which all samples count alike.
    WithSource : Holds the source, for cross-validation on the target.

    Notes
    -----
    Boosting stops after a round without an error on the target. This error counts as 2.2e-16 in the
    vote, which is then about 36 and almost decides alone. Boosting also stops before a round whose
    error is :math:`1 - 1/K` or more, and this round is left out. If it is the first round, its
    learner is the only one, with a warning. The half that votes is taken of the rounds made.

    Under the new weights of the target samples, the error of the learner is :math:`1 - 1/K`. A base
    classifier that learns the same again in the next round therefore ends boosting, as a decision
    stump does on a large source. Use deeper trees or a linear model, or a larger `target_weight`.
    A base classifier that makes no error on few target samples leaves
    nothing to boost either.

    Weights are the initial weights times factors rounded to single precision. Neither the order of
    the samples nor a repeated sample then decides between equally good splits. The base classifier
    gets frames as they are, with their categories in one coding for both domains; a tree gets
    arrays of numbers. A sample with a `sample_weight` of 2 counts twice in ``n``, which
    `target_weight` does not change.

    Time is that of `n_estimators` fits and predictions of the base estimator at most. Memory grows
    like the number of samples, times that of rounds with `store_weights`.

    References
    ----------
    .. [1] W. Dai, Q. Yang, G.-R. Xue, Y. Yu, "Boosting for Transfer Learning", ICML 2007,
       algorithm 1.
    .. [2] J. Zhu, H. Zou, S. Rosset, T. Hastie, "Multi-class AdaBoost", Statistics and Its
       Interface 2 (2009), algorithm 2.

    Examples
    --------
    Half of the source follows another rule:

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import PooledEstimator, TrAdaBoostClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 5)), rng.normal(size=(540, 5))
    >>> y, y_target = X[:, 0] + X[:, 1] > 0, X_target[:, 0] + X_target[:, 1] > 0
    >>> y[:200] = X[:200, 1] > X[:200, 0]
    >>> known = dict(X_target=X_target[:40], y_target=y_target[:40])
    >>> model = TrAdaBoostClassifier(LogisticRegression(), n_estimators=20).fit(X, y, **known)
    >>> pooled = PooledEstimator(LogisticRegression()).fit(X, y, **known)
    >>> rows = X_target[40:], y_target[40:]
    >>> bool(model.score(*rows) > pooled.score(*rows) + 0.1)
    True
    """

    _default_estimator = DecisionTreeClassifier(max_depth=1)

    def __init__(
        self,
        estimator=None,
        *,
        n_estimators: int = 50,
        store_weights: bool = True,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.store_weights = store_weights
        self.target_weight = target_weight
        self.random_state = random_state

    def predict(self, X):
        """Predict the class with the most votes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted classes. A tie goes to the first class in ``classes_``.
        """
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]

    def predict_proba(self, X):
        """Predict the share of the votes of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Shares, in the order of ``classes_``. They are not calibrated probabilities.
        """
        rows = self._check_rows(X)
        voters = self._voters(len(self.estimators_))
        codes = [self._codes(learner, rows) for learner in self.estimators_[voters]]
        return self._shares(codes, self.estimator_weights_[voters])

    def predict_log_proba(self, X):
        """Predict the logarithm of the share of the votes of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Logarithms of the shares, in the order of ``classes_``. ``-inf`` for a class without a
            vote.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def decision_function(self, X):
        """Compute the shares of the votes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Shares of the classes. For two classes, the share of the second minus the share of the
            first, from -1 to 1.
        """
        shares = self.predict_proba(X)
        return shares[:, 1] - shares[:, 0] if shares.shape[1] == 2 else shares

    def staged_predict(self, X):
        """Predict as if boosting had ended after each of its rounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Yields
        ------
        y : ndarray of shape (n_samples,)
            Predicted classes after one more round.
        """
        for shares in self.staged_predict_proba(X):
            yield self.classes_[shares.argmax(axis=1)]

    def staged_predict_proba(self, X):
        """Predict the shares of the votes as if boosting had ended after each of its rounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Yields
        ------
        p : ndarray of shape (n_samples, n_classes)
            Shares after one more round, in the order of ``classes_``.
        """
        rows = self._check_rows(X)
        codes = [self._codes(learner, rows) for learner in self.estimators_]
        for n_rounds in range(1, len(codes) + 1):
            voters = self._voters(n_rounds)
            yield self._shares(codes[voters], self.estimator_weights_[voters])

    def _codes(self, learner, rows) -> np.ndarray:
        return np.searchsorted(self.classes_, rows.predict(learner))

    def _shares(self, codes, votes) -> np.ndarray:
        """Return the share of the votes of each class, shape (n, n_classes)."""
        n, n_classes = len(codes[0]), len(self.classes_)
        shares = np.zeros(n * n_classes)
        start = np.arange(n) * n_classes
        for predicted, vote in zip(codes, votes, strict=True):
            shares[start + predicted] += vote
        return shares.reshape(n, n_classes) / votes.sum()

    def _check_labels(self, X, y, **checks):
        X, y = self._validated(X, y, **checks)
        check_classification_targets(y)
        return X, y

    def _rule(self, data):
        n_classes = len(self.classes_)
        return Rule(
            losses=lambda predicted, y: predicted != y,
            vote=lambda error: vote_of(error, n_classes),
            guessing=1 - 1 / n_classes,
        )

    def _template_for(self, data):
        if self.estimator is not None:
            return self.estimator
        depth = max(1, (len(np.unique(data.y)) - 1).bit_length())  # ceil(log2(K))
        return DecisionTreeClassifier(max_depth=depth)

    def _boost(self, fits, data, used, task):
        self.classes_ = np.unique(data.y)
        return super()._boost(fits, data, used, task)
