"""Losses of two domains against double sums, definitions and finite differences."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from skltransfer._networks._labels import Classes
from skltransfer.relation import _discrepancy
from skltransfer.relation._adversarial import PairsOfFeatures, reverse_gradient
from skltransfer.relation._class_confusion import class_confusion
from skltransfer.relation._discrepancy import coral_distance, mmd_of_some, multi_kernel_mmd
from skltransfer.relation._two_domain_network import Adaptation


def drawn(*shapes, seed=0, requires_grad=True):
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_(requires_grad)
        for shape in shapes
    ]


def double_sum(source, target, p, q, width):
    """Return the squared discrepancy pair by pair."""

    def k(x, y):
        distance = ((x - y) ** 2).sum()
        return np.mean([np.exp(-distance / (2.0**m * width)) for m in (-2, -1, 0, 1, 2)])

    total = 0.0
    for X, Z, a, b, sign in (
        (source, source, p, p, 1),
        (target, target, q, q, 1),
        (source, target, p, q, -2),
    ):
        pairs = [(i, j) for i in range(len(X)) for j in range(len(Z)) if X is not Z or i != j]
        mass = sum(a[i] * b[j] for i, j in pairs)
        total += sum(sign * a[i] * b[j] / mass * k(X[i], Z[j]) for i, j in pairs)
    return total


# --- multi-kernel MMD ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_the_discrepancy_is_the_double_sum(weighted, mean):
    rng = np.random.default_rng(0)
    source, target = rng.normal(mean, 1, (7, 3)), rng.normal(mean + 1, 2, (5, 3))
    w, v = (rng.integers(1, 4, n) if weighted else np.ones(n) for n in (7, 5))
    p, q = w / w.sum(), v / v.sum()
    both, share = np.concatenate([source, target]), np.concatenate([p, q]) / 2
    width = share @ ((both[:, None] - both) ** 2).sum(2) @ share
    weights = [torch.tensor(x / x.mean()) for x in (w, v)] if weighted else [None, None]
    found = multi_kernel_mmd(torch.tensor(source), torch.tensor(target), *weights)
    expected = double_sum(source, target, p, q, width)
    assert float(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    given = multi_kernel_mmd(torch.tensor(source), torch.tensor(target), *weights, width=0.7)
    expected = double_sum(source, target, p, q, 0.7)
    assert float(given) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_the_discrepancy_grows_with_the_distance():
    source, target = drawn((40, 3), (30, 3), requires_grad=False)
    found = [float(multi_kernel_mmd(source, target + away)) for away in (0.0, 0.5, 1.0, 2.0)]
    assert abs(found[0]) < 0.1
    assert found == sorted(found)


def test_the_discrepancy_is_unbiased():
    """Its mean over small batches of one distribution is zero."""
    batches = drawn(*[(8, 2)] * 400, requires_grad=False)
    found = [
        float(multi_kernel_mmd(a, b, width=2.0))
        for a, b in zip(batches[::2], batches[1::2], strict=True)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5


@pytest.mark.parametrize("weighted", [False, True])
def test_a_full_batch_takes_some_samples_of_a_large_domain(weighted, monkeypatch):
    monkeypatch.setattr(_discrepancy, "MOST_SAMPLES", 4)
    source, target = drawn((3, 3), (9, 3), requires_grad=False)
    w, v = (torch.arange(1.0, n + 1) if weighted else None for n in (3, 9))
    some = [0, 2, 4, 6]
    expected = multi_kernel_mmd(source, target[some], w, v[some] if weighted else None)
    assert float(mmd_of_some(source, target, w, v)) == float(expected)
    few = multi_kernel_mmd(source, target[:4], w, v[:4] if weighted else None)
    assert float(mmd_of_some(source, target[:4], w, v[:4] if weighted else None)) == float(few)
    # 100 million pairs of a target, which would fill 4 GB, are not formed.
    monkeypatch.undo()
    many = torch.ones(100_000, 3, dtype=torch.float64)
    assert np.isfinite(float(mmd_of_some(source, many)))


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_the_discrepancy_does_not_depend_on_the_blocks(size, monkeypatch):
    source, target = drawn((6, 3), (9, 3))
    w = torch.arange(1.0, 7)
    expected = multi_kernel_mmd(source, target, w)
    of_expected = torch.autograd.grad(expected, (source, target))
    monkeypatch.setattr(_discrepancy, "_PAIRS_OF_A_BLOCK", size)
    found = multi_kernel_mmd(source, target, w)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)
    for own, other in zip(torch.autograd.grad(found, (source, target)), of_expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-14)


def test_the_discrepancy_of_features_in_mixed_precision():
    """Distances are differences, of which half precision would leave little."""
    source, target = (10 + x.float() for x in drawn((20, 3), (20, 3), requires_grad=False))
    expected = multi_kernel_mmd(source.bfloat16().float(), target.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        found = multi_kernel_mmd(source.bfloat16(), target.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alone", ["source", "target"])
def test_one_sample_of_a_domain_is_its_own_pair(alone):
    many, one = drawn((4, 3), (1, 3), requires_grad=False)
    of_pair = [
        np.mean([np.exp(-float(((a - b) ** 2).sum()) / (2.0**m * 2)) for m in (-2, -1, 0, 1, 2)])
        for a in many
        for b in (*many, *one)
    ]
    pairs = np.array(of_pair).reshape(4, 5)
    within = pairs[:, :4][~np.eye(4, dtype=bool)].mean()
    expected = within + 1 - 2 * pairs[:, 4].mean()
    given = (one, many) if alone == "source" else (many, one)
    assert float(multi_kernel_mmd(*given, width=2.0)) == pytest.approx(expected, rel=1e-12)


def test_the_discrepancy_of_few_or_equal_samples_is_finite():
    constant = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    for n in (1, 3):
        loss = multi_kernel_mmd(constant, torch.ones(n, 2, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(loss, constant)
        assert abs(float(loss.detach())) < 1e-12 and (gradient == 0).all()


@pytest.mark.parametrize(
    "loss", [coral_distance, lambda *given: multi_kernel_mmd(*given, width=2.0)]
)
def test_gradients_of_distances(loss):
    source, target = drawn((7, 3), (5, 3))
    weights = torch.rand(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert gradcheck(lambda a, b: loss(a, b, weights), (source, target))


# --- gradient reversal ---------------------------------------------------------------------


def test_the_gradient_is_reversed():
    (x,) = drawn((4, 3))
    # Times -1 twice is the identity, of which finite differences know.
    assert gradcheck(lambda x: reverse_gradient(x, -1.0).sin(), (x,))
    assert gradcheck(lambda x: reverse_gradient(reverse_gradient(x, 2.0), 0.5).sin(), (x,))
    (plain,) = torch.autograd.grad(x.sin().sum(), x)
    (reversed_,) = torch.autograd.grad(reverse_gradient(x, 0.3).sin().sum(), x)
    assert (reverse_gradient(x, 0.3) == x).all()
    torch.testing.assert_close(reversed_, -0.3 * plain, rtol=1e-15, atol=0)


@pytest.mark.parametrize("progress, expected", [(0.0, 0.0), (0.1, 0.46211716), (1.0, 0.9999092)])
def test_the_schedule_is_the_published_one(progress, expected):
    class Plain(Adaptation):
        def compare(self, *given):
            return {}

    class Source:
        def advance(self, progress):
            self.progress = progress

    objective = Plain(Source(), 3.0, "sigmoid")
    objective.advance(progress)
    assert objective.weight == pytest.approx(3 * expected, rel=1e-6)
    assert objective.of_source.progress == progress
    constant = Plain(Source(), 3.0, "constant")
    constant.advance(progress)
    assert constant.weight == 3.0


# --- classes -------------------------------------------------------------------------------


def test_products_are_the_outer_ones_or_estimate_them():
    features, p = drawn((3, 4), (3, 2), requires_grad=False)
    pairs = PairsOfFeatures(4, 2)
    expected = torch.stack([torch.outer(a, b).flatten() for a, b in zip(features, p, strict=True)])
    torch.testing.assert_close(pairs(features, p), expected)
    torch.manual_seed(0)
    many, p = torch.randn(2, 600), torch.randn(2, 10)
    mapped = PairsOfFeatures(600, 10)
    assert mapped.n_outputs == 4096
    a, b = mapped(many, p)
    exact = (many[0] @ many[1]) * (p[0] @ p[1])
    spread = (many[0] @ many[0] * (p[0] @ p[0]) * (many[1] @ many[1]) * (p[1] @ p[1])) ** 0.5
    assert abs(float(a @ b - exact)) < 4 * float(spread) / 64 * 3


def test_the_confusion_is_that_of_its_definition():
    (logits,) = drawn((6, 3), requires_grad=False)
    weights = torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0, 1.0], dtype=torch.float64)

    def by_hand(p, weights):
        n, k = p.shape
        certain = [w * (1 + np.exp(-sum(-q * np.log(q) for q in row))) for w, row in
                   zip(weights, p, strict=True)]  # fmt: skip
        certain = n * np.array(certain) / sum(certain)
        C = sum(w * np.outer(row, row) for w, row in zip(certain, p, strict=True))
        C = C / C.sum(1, keepdims=True)
        return sum(C[i, j] for i in range(k) for j in range(k) if i != j) / k

    p = logits.softmax(1)
    for given in (None, weights):
        w = np.ones(6) if given is None else given.numpy()
        expected = by_hand(p.numpy(), w)
        assert float(class_confusion(p, given)) == pytest.approx(expected, rel=1e-12)
    repeated = p.repeat_interleave(weights.long(), 0)
    assert float(class_confusion(repeated)) == pytest.approx(float(class_confusion(p, weights)))
    certain = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 1]]
    assert float(class_confusion(certain)) == 0


def test_probabilities_of_two_classes_and_of_more():
    outputs = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    p = Classes(np.zeros(2), 1).probabilities(outputs, 2.0)
    torch.testing.assert_close(p[:, 1], torch.sigmoid(outputs[:, 0] / 2))
    (outputs,) = drawn((4, 3), requires_grad=False)
    torch.testing.assert_close(
        Classes(np.zeros(4), 3).probabilities(outputs), outputs.softmax(1), rtol=0, atol=0
    )


def test_predictions_are_judged_by_their_mutual_information():
    labels = Classes(np.zeros(4), 3)
    sure = 50.0 * torch.eye(3)[[0, 1, 2]]
    assert labels.loss_without_labels(sure, None) == pytest.approx(-np.log(3))
    assert labels.loss_without_labels(torch.zeros(3, 3), None) == pytest.approx(0)
    assert labels.loss_without_labels(sure[[0, 0, 0]], None) == pytest.approx(0)  # one class
    weighted = labels.loss_without_labels(sure, torch.tensor([1.0, 1.0, 0.0]))
    assert weighted == pytest.approx(-np.log(2))
