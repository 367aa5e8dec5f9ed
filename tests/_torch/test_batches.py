"""Batches: every row once an epoch, in an order of its own, with its weight; of two domains too."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from skltransfer._torch._batches import (
    Batch,
    IndexStream,
    Inputs,
    RowBatches,
    TwoDomainBatch,
    TwoDomainBatches,
)
from skltransfer._torch._optimizers import make_optimizer
from skltransfer._torch._rows import TableRows
from skltransfer._torch._training import total_loss, train


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Rows that are permuted at once, and rows so wide that they are picked batch by batch.
WIDTHS = [1, 2**21]


def numbered(n, start=0, *, batch_size=4, seed=0, weights=None, classes=None, width=1, **more):
    """Return batches whose inputs are the numbers of the rows."""
    numbers = torch.arange(start, start + n, dtype=torch.float64)
    inputs = numbers[:, None].expand(n, width)
    stream = IndexStream(n, None if seed is None else generator(seed), classes)
    return RowBatches(inputs, numbers.clone(), weights, batch_size, stream, **more)


def taken(batches):
    return [batch.inputs[:, 0].int().tolist() for batch in batches]


@pytest.mark.parametrize("n, size, sizes", [(10, 4, [4, 3, 3]), (9, 4, [3, 3, 3]), (5, 8, [5])])
def test_an_epoch_is_every_row_once_in_batches_of_nearly_equal_size(n, size, sizes):
    batches = numbered(n, batch_size=size)
    first, second = taken(batches), taken(batches)
    assert [len(batch) for batch in first] == sizes
    assert len(batches) == len(sizes)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(n))
    assert first != second
    assert first == taken(numbered(n, batch_size=size))
    assert first != taken(numbered(n, batch_size=size, seed=1))


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_targets_and_weights_stay_together(width):
    weights = torch.arange(11, dtype=torch.float64) * 3
    orders = []
    for batch in numbered(11, weights=weights, width=width):
        numbers = batch.inputs[:, 0]
        assert torch.equal(batch.targets, numbers)
        assert torch.equal(batch.weights, numbers * 3)
        orders += numbers.tolist()
    assert sorted(orders) == list(range(11))
    assert taken(numbered(11, width=width)) == taken(numbered(11))


def test_without_a_generator_rows_come_in_order():
    assert taken(numbered(6, seed=None)) == [[0, 1, 2], [3, 4, 5]]
    assert taken(numbered(3, seed=None)) == [[0, 1, 2]]


@pytest.mark.parametrize("width", WIDTHS)
def test_augmentation_sees_every_batch(width):
    def double(batch):
        return Batch(batch.inputs * 2, batch.targets, batch.weights)

    batches = numbered(7, augment=double, width=width)
    assert sorted(sum(taken(batches), [])) == [2 * i for i in range(7)]
    assert torch.equal(batches.inputs[:, 0], torch.arange(7, dtype=torch.float64))


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 50])
def test_the_parts_of_a_batch_are_the_batch(n_parts):
    batch = Batch(*(torch.arange(7) + i for i in range(6)))
    parts = batch.split(n_parts)
    assert len(parts) == min(n_parts, 7)
    assert all(len(part) for part in parts)
    for name in Batch.__slots__:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(batch, name))
    assert Batch(batch.inputs, batch.targets).split(n_parts)[-1].weights is None


def test_rows_that_do_not_fit_are_made_for_each_batch():
    class Long(TableRows):
        """More rows than fit, of which the first six are looked at."""

        def __len__(self):
            return 2**30

    table = np.arange(12.0).reshape(6, 2)
    settings = (None, torch.device("cpu"), torch.float32)
    resident, made = (Inputs(rows(table), *settings) for rows in (TableRows, Long))
    assert resident.resident is not None and made.resident is None
    for indices in (slice(6), slice(1, 4), torch.tensor([5, 0, 0])):
        assert torch.equal(resident[indices], made[indices])
        assert made[indices].dtype == torch.float32
    targets = torch.arange(6)
    streams = [IndexStream(6, generator()) for _ in range(2)]
    pair = [
        RowBatches(x, targets, None, 4, s) for x, s in zip((resident, made), streams, strict=True)
    ]
    for a, b in zip(*pair, strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


# --- balanced classes ----------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(50, 4), (30, 5, 2), (3, 1, 40, 9)])
def test_every_batch_is_balanced(counts):
    classes = np.repeat(np.arange(len(counts)), counts)
    n, size = len(classes), 4 * len(counts)
    batches = numbered(n, batch_size=size, classes=classes)
    seen = np.zeros(n, int)
    for _ in range(20):
        for batch in taken(batches):
            share = np.bincount(classes[batch], minlength=len(counts))
            assert share.max() - share.min() <= 1
            np.add.at(seen, batch, 1)
    assert (seen > 0).all()
    per_class = [seen[classes == c].sum() for c in range(len(counts))]
    np.testing.assert_allclose(per_class, np.mean(per_class), rtol=0.05)
    # Rows of one class come equally often, as far as that goes.
    for c in range(len(counts)):
        assert seen[classes == c].max() <= 2.5 * seen[classes == c].mean() + 3


# --- two domains ---------------------------------------------------------------------------


def two_domains(n_source, n_target, size_source=4, size_target=4, **more):
    return TwoDomainBatches(
        numbered(n_source, batch_size=size_source, seed=1, **more),
        numbered(n_target, 100, batch_size=size_target, seed=2),
    )


@pytest.mark.parametrize("n_source, n_target", [(20, 6), (6, 20), (12, 12), (9, 2)])
def test_an_epoch_of_two_domains_is_one_pass_over_the_source(n_source, n_target):
    """The target goes on from epoch to epoch, so that all of its rows come equally often."""
    batches, alone = two_domains(n_source, n_target), numbered(n_source, seed=1)
    assert len(batches) == len(alone)
    target = []
    for _ in range(6):
        epoch = list(batches)
        assert len(epoch) == len(batches)
        assert taken([b.source for b in epoch]) == taken(alone)
        target += sum(taken([b.target for b in epoch]), [])
    counts = np.bincount(np.array(target) - 100, minlength=n_target)
    assert counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_each_domain_has_a_stream_of_its_own():
    """The order of one domain does not depend on the other."""
    first, second = two_domains(20, 6), two_domains(20, 14)
    assert first.streams == [first.source.stream, first.target.stream]
    assert taken([b.source for b in first]) == taken([b.source for b in second])
    assert taken([b.source for b in first]) == taken(list_twice(numbered(20, seed=1)))
    changed = TwoDomainBatches(numbered(20, seed=5), numbered(6, 100, seed=2))
    fresh = two_domains(20, 6)
    assert taken([b.target for b in changed]) == taken([b.target for b in fresh])


def list_twice(batches):
    """Return the batches of the second epoch."""
    list(batches)
    return list(batches)


@pytest.mark.parametrize(
    "n_source, n_target, n_parts", [(9, 8, 4), (8, 3, 5), (4, 4, 2), (5, 1, 3)]
)
def test_no_row_is_lost_when_a_batch_goes_through_in_parts(n_source, n_target, n_parts):
    batch = TwoDomainBatch(
        Batch(torch.arange(n_source), torch.arange(n_source)),
        Batch(torch.arange(n_target), torch.arange(n_target)),
    )
    parts = batch.split(n_parts)
    assert len(parts) == min(n_parts, n_source, n_target)
    for domain in ("source", "target"):
        joined = torch.cat([getattr(part, domain).inputs for part in parts])
        assert torch.equal(joined, getattr(batch, domain).inputs)
    assert sum(map(len, parts)) == len(batch)


def test_weights_of_both_domains():
    ones = Batch(torch.zeros(2), torch.zeros(2))
    weighted = Batch(torch.zeros(3), torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    assert TwoDomainBatch(ones, ones).weights is None
    assert TwoDomainBatch(ones, weighted).weights.tolist() == [1, 1, 1, 2, 3]
    assert TwoDomainBatch(weighted, ones).weights.tolist() == [1, 2, 3, 1, 1]
    losses = torch.tensor([5.0, 7.0, 11.0])
    expected = (5 + 14 + 33) / 3
    two, four = torch.tensor(2.0), torch.tensor(4.0)
    both = TwoDomainBatch(weighted, ones)
    assert total_loss({"a": losses}, both) == pytest.approx(expected)
    assert total_loss({"a": losses, "b": two}, weighted) == pytest.approx(expected + 2)
    assert total_loss({"b": two, "a": losses}, weighted) == pytest.approx(expected + 2)
    assert total_loss({"a": losses, "b": 2 * losses}, weighted) == pytest.approx(3 * expected)
    assert total_loss({"a": four}, weighted) == 4


@pytest.mark.parametrize("form", ["rows", "scalar", "pair", "source rows and a scalar"])
def test_training_on_two_domains_is_the_loop_written_by_hand(form):
    rng = generator(3)
    data = [torch.randn(n, 3, generator=rng, dtype=torch.float64) for n in (14, 9)]
    labels = [torch.randint(2, (n,), generator=rng) for n in (14, 9)]
    weights = torch.rand(14, generator=rng, dtype=torch.float64)
    modules = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            modules.append(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
        modules[-1].double()

    def per_row(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="none")

    def parts_of(module, source, target):
        outputs = module(torch.cat([source.inputs, target.inputs]))  # norms see both
        ours, theirs = outputs.split([len(source), len(target)])
        apart = ((ours.mean(0) - theirs.mean(0)) ** 2).sum()
        return per_row(ours, source.targets), per_row(theirs, target.targets), apart

    def objective(module, batch):
        ours, theirs, apart = parts_of(module, batch.source, batch.target)
        both = torch.cat([ours, theirs])
        return {
            "rows": {"labels": both},
            "scalar": {"apart": apart},
            "pair": {"labels": both, "apart": apart},
            "source rows and a scalar": {"labels": ours, "apart": apart},
        }[form]

    def make():
        source = RowBatches(data[0], labels[0], weights, 4, IndexStream(14, generator(1)))
        target = RowBatches(data[1], labels[1], None, 4, IndexStream(9, generator(2)))
        return TwoDomainBatches(source, target)

    module, expected = modules
    group = [{"params": list(module.parameters()), "lr": 0.1, "weight_decay": 0.0}]
    train(module, objective, make(), optimizer=make_optimizer("sgd", group, 0.0), n_epochs=2)
    optimizer, batches = torch.optim.SGD(expected.parameters(), lr=0.1), make()
    expected.train()
    for batch in [*batches, *batches]:
        ours, theirs, apart = parts_of(expected, batch.source, batch.target)
        weighted = (ours * batch.source.weights).sum()
        n_source, n_both = len(ours), len(ours) + len(theirs)
        loss = {
            "rows": (weighted + theirs.sum()) / n_both,
            "scalar": apart,
            "pair": (weighted + theirs.sum()) / n_both + apart,
            "source rows and a scalar": weighted / n_source + apart,
        }[form]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for a, b in zip(module.state_dict().values(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
