"""Pairs of tables made by formula: a source, a target, and what differs between them.

A task is drawn in this order. Features are mixed normal variables, some with heavy tails, and are
then skewed, rounded or cut in two. The target's features are shifted and scaled. Labels come from a
random function (linear, a small network, or steps), with noise. The target's function is turned
away from the source's by an angle: none, a little, any, at right angles, or against it. Some
sources have random labels, and some targets have hardly more than one class. Rows are chosen with a
bias by a feature or by the label. Labels may be numbers: the functions with additive noise, which
are shifted and scaled in some targets.

The prior is that of prior-fitted networks [1]_, for pairs.

References
----------
.. [1] S. Müller et al., "Transformers Can Do Bayesian Inference", ICLR 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

N_HIDDEN, N_STEPS = 10, 8


@dataclass(frozen=True)
class Shape:
    """The sizes that the tasks of one draw share.

    Attributes
    ----------
    n_classes : int or None
        None if labels are numbers.
    n_features : int
    n_source, n_labelled, n_unlabelled, n_test : int
        Source samples, and target samples with a label, without one, and to be predicted.
    """

    n_classes: int | None
    n_features: int
    n_source: int
    n_labelled: int
    n_unlabelled: int
    n_test: int


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks of one shape: samples of shape (n_tasks, n, n_features), and labels (n_tasks, n)."""

    X_source: torch.Tensor
    y_source: torch.Tensor
    X_labelled: torch.Tensor
    y_labelled: torch.Tensor
    X_unlabelled: torch.Tensor
    X_test: torch.Tensor
    y_test: torch.Tensor


class Random:
    """Random numbers of one generator.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, generator=self.generator)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return numbers between 0 and 1."""
        return torch.rand(shape, generator=self.generator)

    def coin(self, chance: float, *shape: int) -> torch.Tensor:
        """Return 1 with some chance, else 0."""
        return (self.uniform(*shape) < chance).float()

    def sign(self, *shape: int) -> torch.Tensor:
        """Return -1 or 1."""
        return 2 * self.coin(0.5, *shape) - 1

    def choice(self, n: int, *shape: int) -> torch.Tensor:
        """Return whole numbers from 0 to n - 1."""
        return torch.randint(0, n, shape, generator=self.generator)

    def pick(self, weights: torch.Tensor, n: int) -> torch.Tensor:
        """Return n columns for each row of weights, with replacement."""
        return torch.multinomial(weights, n, replacement=True, generator=self.generator)


def draw_tasks(random: Random, shape: Shape, n_tasks: int) -> Tasks:
    """Draw tasks of one shape."""
    n_target = shape.n_labelled + shape.n_unlabelled + shape.n_test
    pools = 2 * shape.n_source, 2 * n_target  # of which rows are chosen
    X = _features(random, n_tasks, pools, shape.n_features)
    y = _numbers(random, X, pools) if shape.n_classes is None else _labels(random, X, pools, shape)
    sizes = shape.n_source, n_target
    rows = torch.cat(
        [
            start + _biased_rows(random, X[:, start : start + pool], y[:, start : start + pool], n)
            for start, pool, n in zip((0, pools[0]), pools, sizes, strict=True)
        ],
        dim=1,
    )
    X = X.gather(1, rows[..., None].expand(-1, -1, shape.n_features))
    y = y.gather(1, rows)
    X[:, shape.n_source :] = _in_other_units(random, X[:, shape.n_source :])
    own = _ordered_for_labelling(random, y[:, shape.n_source :], shape)
    own = torch.cat([torch.arange(shape.n_source).expand(n_tasks, -1), shape.n_source + own], dim=1)
    X = X.gather(1, own[..., None].expand(-1, -1, shape.n_features))
    parts = [shape.n_source, shape.n_labelled, shape.n_unlabelled, shape.n_test]
    X_source, X_labelled, X_unlabelled, X_test = X.split(parts, dim=1)
    y_source, y_labelled, _, y_test = y.gather(1, own).split(parts, dim=1)
    return Tasks(X_source, y_source, X_labelled, y_labelled, X_unlabelled, X_test, y_test)


def _features(random: Random, n_tasks: int, pools: tuple[int, int], p: int) -> torch.Tensor:
    """Return the features of both pools, in the units of the source where there is one."""
    n_source, n = pools[0], sum(pools)
    z = random.normal(n_tasks, n, p)
    heavy = random.coin(0.3, n_tasks, 1, 1) * random.coin(0.3, n_tasks, 1, p)
    z = z * torch.exp(heavy * 0.8 * random.normal(n_tasks, n, 1))
    moves = random.coin(0.6, n_tasks, 1, 1) * random.normal(n_tasks, 1, 1).abs()
    moves = moves * random.coin(0.5, n_tasks, 1, p)
    target = z[:, n_source:]
    target *= torch.exp(0.4 * random.normal(n_tasks, 1, p) * moves)
    target += random.normal(n_tasks, 1, p) * moves
    amount = 1.5 * random.uniform(n_tasks, 1, 1)
    X = torch.bmm(z, torch.eye(p) + amount * random.normal(n_tasks, p, p) / math.sqrt(p))
    known = X[:, :n_source] if n_source else X
    X = X / (known.std(1, keepdim=True) + 1e-6)
    kind = random.choice(6, n_tasks, 1, p)
    kind = torch.where(random.uniform(n_tasks, 1, 1) < 0.4, 0, kind)
    threshold = 0.7 * random.normal(n_tasks, 1, p)
    X = torch.where(kind == 3, (0.7 * X).exp(), X)
    X = torch.where(kind == 4, (X > threshold).float(), X)
    X = torch.where(kind == 5, (1.2 * X).round(), X)
    known = X[:, :n_source] if n_source else X
    X = (X - known.mean(1, keepdim=True)) / (known.std(1, keepdim=True) + 0.1)
    return X.clamp(-5, 5)


def _function(random: Random, X: torch.Tensor) -> torch.Tensor:
    """Return a random function of the features for each task, with mean 0 and deviation 1."""
    n_tasks, n, p = X.shape
    spread = 0.5 + 1.2 * random.uniform(n_tasks, 1)
    relevance = torch.exp(spread * random.normal(n_tasks, p))
    relevance = relevance / relevance.norm(dim=1, keepdim=True)
    linear = torch.bmm(X, (relevance * random.sign(n_tasks, p))[..., None])[..., 0]
    weights = random.normal(n_tasks, p, N_HIDDEN) * relevance[..., None]
    weights = weights * (0.7 + 2 * random.uniform(n_tasks, 1, 1))
    hidden = torch.bmm(X, weights) + random.normal(n_tasks, 1, N_HIDDEN)
    kind = random.choice(4, n_tasks, 1, 1)
    for number, activation in enumerate((torch.tanh, torch.relu, torch.sin, torch.abs)):
        hidden = torch.where(kind == number, activation(hidden), hidden)
    network = torch.bmm(hidden, random.normal(n_tasks, N_HIDDEN, 1))[..., 0]
    steps = torch.bmm(
        _steps(random, X, relevance)
        * (1 - random.coin(0.5, n_tasks, 1, N_STEPS) * (1 - _steps(random, X, relevance))),
        random.normal(n_tasks, N_STEPS, 1),
    )[..., 0]
    parts = _standard(torch.stack([linear, network, steps], dim=2))
    one = random.pick(torch.tensor([0.5, 0.25, 0.25]).expand(n_tasks, 3), 1)
    shares = torch.zeros(n_tasks, 3).scatter_(1, one, 1.0)
    shares = torch.where(random.uniform(n_tasks, 1) < 0.3, random.uniform(n_tasks, 3), shares)
    return _standard((parts * shares[:, None]).sum(2))


def _steps(random: Random, X: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
    n_tasks, n, _ = X.shape
    columns = random.pick(relevance, N_STEPS)[:, None].expand(n_tasks, n, N_STEPS)
    signs = random.sign(n_tasks, 1, N_STEPS)
    return (X.gather(2, columns) * signs > 0.8 * random.normal(n_tasks, 1, N_STEPS)).float()


def _standard(f: torch.Tensor) -> torch.Tensor:
    return (f - f.mean(1, keepdim=True)) / (f.std(1, keepdim=True) + 1e-3)


def _angles(random: Random, n_tasks: int) -> torch.Tensor:
    """Return how far the target's function is turned away from the source's."""
    kind, angle = random.uniform(n_tasks, 1), torch.zeros(n_tasks, 1)
    angle = torch.where(kind > 0.30, 0.6 * random.normal(n_tasks, 1).abs(), angle)
    angle = torch.where(kind > 0.75, math.pi * random.uniform(n_tasks, 1), angle)
    angle = torch.where(kind > 0.88, torch.tensor(math.pi / 2), angle)
    return torch.where(kind > 0.94, torch.tensor(math.pi), angle)


def _turned_function(random: Random, X: torch.Tensor, is_target, angle) -> torch.Tensor:
    """Return a random function of the features, which is another one in the target."""
    of_source, other = _function(random, X), _function(random, X)
    of_target = angle.cos() * of_source + angle.sin() * other
    return torch.where(is_target, of_target, of_source)


def _with_random_sources(random: Random, y: torch.Tensor, is_target, chance: float):
    """Return labels that mean nothing in some sources: they are in the order of other rows."""
    n_tasks, n = y.shape
    order = random.uniform(n_tasks, n).masked_fill(is_target, 2.0).argsort(dim=1, stable=True)
    order = torch.where(is_target, torch.arange(n)[None], order)
    mixed = random.coin(chance, n_tasks, 1) > 0
    return torch.where(mixed, y.gather(1, order), y)


def _numbers(random: Random, X: torch.Tensor, pools: tuple[int, int]) -> torch.Tensor:
    """Return a number for each row: a random function and noise, with its own units in targets."""
    n_tasks, n, _ = X.shape
    is_target = (torch.arange(n) >= pools[0])[None]
    y = _turned_function(random, X, is_target, _angles(random, n_tasks))
    moves = random.coin(0.5, n_tasks, 1)
    scale = torch.exp(0.3 * moves * random.normal(n_tasks, 1))
    moved = scale * y + 0.7 * moves * random.normal(n_tasks, 1)
    y = torch.where(is_target, moved, y)
    noise = random.normal(n_tasks, n) * torch.exp(2.5 * random.uniform(n_tasks, 1) - 2)
    y = y + noise * torch.exp(0.8 * random.coin(0.2, n_tasks, 1) * random.normal(n_tasks, n))
    return _with_random_sources(random, y, is_target, 0.04)


def _labels(random: Random, X: torch.Tensor, pools: tuple[int, int], shape: Shape) -> torch.Tensor:
    """Return the class of each row, whose chances are a softmax of random functions."""
    n_tasks, n, _ = X.shape
    n_classes = shape.n_classes
    is_target = (torch.arange(n) >= pools[0])[None]
    angle = _angles(random, n_tasks)
    logits = torch.stack(
        [
            _turned_function(random, X, is_target, angle)
            for _ in range(1 if n_classes == 2 else n_classes)
        ],
        dim=2,
    )
    if n_classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=2)
    # How common classes are: in both domains, and differently in the target.
    shift = 0.5 * random.normal(n_tasks, 1, n_classes)
    moves = random.coin(0.4, n_tasks, 1, 1)
    target_shift = shift + moves * 0.6 * random.normal(n_tasks, 1, n_classes)
    logits = logits + torch.where(is_target[..., None], target_shift, shift)
    logits = torch.exp(3 * random.uniform(n_tasks, 1, 1)) * logits
    rare = random.coin(0.12, n_tasks, 1)
    logits = torch.where(
        (rare > 0)[..., None] & is_target[..., None], _with_one_class(random, logits, pools), logits
    )
    noise = 0.3 * random.uniform(n_tasks, 1, 1) * random.coin(0.5, n_tasks, 1, 1)
    chances = (1 - noise) * logits.softmax(2) + noise / n_classes
    y = random.pick(chances.reshape(-1, n_classes), 1).reshape(n_tasks, n)
    return _with_random_sources(random, y, is_target, 0.08)


def _with_one_class(random: Random, logits: torch.Tensor, pools: tuple[int, int]) -> torch.Tensor:
    """Return logits by which one class has 88 to 98 % of the target's rows."""
    n_tasks, _, n_classes = logits.shape
    common = random.choice(n_classes, n_tasks, 1, 1)
    own = logits.gather(2, common.expand(-1, logits.shape[1], 1))[..., 0]
    others = logits.scatter(2, common.expand(-1, logits.shape[1], 1), -math.inf).amax(2)
    lead = (own - others)[:, pools[0] :]
    rank = ((0.02 + 0.10 * random.uniform(n_tasks, 1)) * lead.shape[1]).long()
    bound = lead.sort(1).values.gather(1, rank)
    return logits.scatter_add(
        2, common.expand(-1, logits.shape[1], 1), -bound[..., None].expand(-1, logits.shape[1], 1)
    )


def _biased_rows(random: Random, X: torch.Tensor, y: torch.Tensor, n: int) -> torch.Tensor:
    """Choose rows with a bias, in some tasks, by the label, and by a feature."""
    if n == 0:
        return torch.zeros(len(X), 0, dtype=torch.long)
    n_tasks = len(X)
    by_label = random.normal(n_tasks, 1) * random.coin(0.3, n_tasks, 1)
    by_feature = random.normal(n_tasks, 1) * random.coin(0.3, n_tasks, 1)
    labels = _standard(y) if y.is_floating_point() else y == y.amax(1, keepdim=True)
    keys = by_label * labels + by_feature * X[..., 0]
    keys = keys - torch.log(-torch.log(random.uniform(*y.shape).clamp(1e-6, 1 - 1e-6)))
    rows = keys.topk(n, dim=1).indices
    return rows.gather(1, random.uniform(n_tasks, n).argsort(1))


def _in_other_units(random: Random, X: torch.Tensor) -> torch.Tensor:
    """Return features of which some, in some tasks, are measured otherwise."""
    n_tasks, _, p = X.shape
    moves = random.coin(0.2, n_tasks, 1, 1) * random.coin(0.5, n_tasks, 1, p)
    scale = torch.exp(0.5 * moves * random.normal(n_tasks, 1, p))
    return X * scale + moves * random.normal(n_tasks, 1, p)


def _ordered_for_labelling(random: Random, y: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return an order of the target's rows in which the labelled ones come first.

    In half of the tasks whoever labels sees to it that each class has a row, or two where there
    is room; in the others the rows are as they come.
    """
    n_tasks, n = y.shape
    if shape.n_labelled == 0 or shape.n_classes is None:
        return torch.arange(n).expand(n_tasks, -1)
    each = 2 if shape.n_labelled >= 2.5 * shape.n_classes else 1
    one_hot = torch.nn.functional.one_hot(y, shape.n_classes)
    rank = (one_hot.cumsum(1) * one_hot).sum(2)
    sees_to_it = random.coin(0.5, n_tasks, 1) > 0
    early = sees_to_it & (rank <= each)
    return torch.where(early, 0, 1).argsort(dim=1, stable=True)
