"""The training loop: against loops written by hand, and through every way it can end."""

import math
import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skltransfer._networks._objective import DistancePenalty, Pull
from skltransfer._torch._batches import Batch, IndexStream, RowBatches
from skltransfer._torch._checkpoint import Checkpoint
from skltransfer._torch._optimizers import Schedule, make_optimizer
from skltransfer._torch._training import MovingAverage, train, train_full_batch
from tests.full_disk import full_disk

N, WIDTH, N_CLASSES = 22, 4, 3


def make_rows(weighted=False, seed=0):
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(N, WIDTH, generator=rng, dtype=torch.float64)
    y = torch.randint(N_CLASSES, (N,), generator=rng)
    weights = torch.rand(N, generator=rng, dtype=torch.float64) + 0.1 if weighted else None
    return X, y, None if weights is None else weights / weights.mean()


def make_module(seed=1, *, norm=False, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(WIDTH, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, N_CLASSES)]
        if norm:
            layers.insert(2, nn.BatchNorm1d(6))
        return nn.Sequential(*layers).double()


def losses_of(module, batch):
    return functional.cross_entropy(module(batch.inputs), batch.targets, reduction="none")


def terms_of(module, batch):
    return {"label_loss": losses_of(module, batch)}


def make_batches(rows, batch_size=8, seed=3):
    return RowBatches(*rows, batch_size, IndexStream(N, torch.Generator().manual_seed(seed)))


def group(module, lr=0.1, weight_decay=0.01, name="all"):
    return {
        "names": [(name, len(list(module.parameters())))],
        "params": list(module.parameters()),
        "lr": lr,
        "weight_decay": weight_decay,
    }


def run(module, rows, *, optimizer="adamw", lr=0.02, n_epochs=4, kind="constant", warmup=0.0, **kw):
    batches = kw.pop("batches", None) or make_batches(rows)
    stepper = make_optimizer(optimizer, [group(module, lr)], 0.9)
    schedule = Schedule(stepper, kind, n_epochs * len(batches), warmup)
    return train(
        module,
        kw.pop("objective", terms_of),
        batches,
        optimizer=stepper,
        n_epochs=n_epochs,
        schedule=schedule,
        **kw,
    )


def by_hand(module, rows, optimizer, n_epochs, *, clip=None, factor=None, after_step=None, seed=3):
    """Train by a plain loop over the same order of rows; return the loss of each epoch."""
    X, y, weights = rows
    order = torch.Generator().manual_seed(seed)
    initial = [g["lr"] for g in optimizer.param_groups]
    history, step = [], 0
    for _ in range(n_epochs):
        total = 0.0
        module.train()
        for indices in torch.randperm(N, generator=order).tensor_split(3):
            losses = functional.cross_entropy(module(X[indices]), y[indices], reduction="none")
            if weights is not None:
                losses = losses * weights[indices]
            loss = losses.sum() / len(indices)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            if factor is not None:
                for part, lr in zip(optimizer.param_groups, initial, strict=True):
                    part["lr"] = lr * factor(step)
            optimizer.step()
            step += 1
            if after_step is not None:
                after_step()
            total += loss.item() * len(indices)
        history.append(total / N)
    return history


def plain(name, module, lr=0.02):
    if name == "adamw":
        return torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=0.01)
    return torch.optim.SGD(
        module.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=0.01
    )


def assert_equal_modules(a, b, atol=0.0):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=atol, msg=name)


def differ(a, b):
    return any(
        not torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_it_is_the_loop_written_by_hand(name, weighted, clip):
    rows = make_rows(weighted)
    module, expected = make_module(norm=True), make_module(norm=True)
    training = run(module, rows, optimizer=name, clip_norm=clip)
    history = by_hand(expected, rows, plain(name, expected), 4, clip=clip)
    assert_equal_modules(module, expected, atol=1e-12)
    np.testing.assert_allclose([r["train_loss"] for r in training.history], history, rtol=1e-12)
    assert [r["epoch"] for r in training.history] == [1, 2, 3, 4]
    assert all(r["lr_all"] == 0.02 and r["seconds"] > 0 for r in training.history)
    assert training.best_epoch == 4
    assert not any(part.training for part in module.modules())
    assert all(p.grad is None for p in module.parameters())


def test_clipping_and_weights_change_the_result():
    results = []
    for weighted, clip in [(False, None), (True, None), (False, 0.2)]:
        results.append(make_module())
        run(results[-1], make_rows(weighted), optimizer="sgd", clip_norm=clip)
    assert differ(results[0], results[1])
    assert differ(results[0], results[2])


@pytest.mark.parametrize("n_passes", [2, 3, 5, 100])
def test_accumulation_is_the_same_step(n_passes):
    rows = make_rows(weighted=True)
    whole, parts = make_module(), make_module()
    run(whole, rows, optimizer="sgd")
    seen = []

    def objective(module, batch):
        seen.append(len(batch))
        return terms_of(module, batch)

    run(parts, rows, optimizer="sgd", n_passes=n_passes, objective=objective)
    assert_equal_modules(whole, parts, atol=1e-12)
    assert max(seen) <= math.ceil(8 / n_passes)
    assert sum(seen) == 4 * N


@pytest.mark.parametrize("kind", ["cosine", "constant", "plateau"])
@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_rates_in_force_at_each_step(kind, warmup):
    module, rows = make_module(), make_rows()
    parameters = list(module.parameters())
    optimizer = make_optimizer(
        "adamw",
        [
            {"params": parameters[:2], "lr": 0.01, "weight_decay": 0.0},
            {"params": parameters[2:], "lr": 0.1, "weight_decay": 0.0},
        ],
        0.9,
    )
    seen = []
    optimizer.register_step_pre_hook(
        lambda stepper, *_: seen.append([g["lr"] for g in stepper.param_groups])
    )
    n_steps = 12
    schedule = Schedule(optimizer, kind, n_steps, warmup)
    train(module, terms_of, make_batches(rows), optimizer=optimizer, n_epochs=4, schedule=schedule)
    n_up = math.ceil(warmup * n_steps)
    expected = [(i + 1) / n_up for i in range(n_up)]
    for i in range(n_steps - n_up):
        cosine = (1 + math.cos(math.pi * i / (n_steps - n_up))) / 2
        expected.append(cosine if kind == "cosine" else 1.0)
    np.testing.assert_allclose(seen, np.outer(expected, [0.01, 0.1]), rtol=1e-12)


def test_a_plateau_divides_the_rate_by_ten():
    module, rows = make_module(), make_rows()
    training = run(module, rows, kind="plateau", n_epochs=12, validate=lambda: 1.0)
    rates = [r["lr_all"] for r in training.history]
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    plateau = ReduceLROnPlateau(reference, factor=0.1, patience=3)
    expected = []
    for _ in range(12):
        expected.append(reference.param_groups[0]["lr"])
        plateau.step(1.0)
    # The record tells the rate of the next step, which after_epoch may have lowered.
    np.testing.assert_allclose(rates[1:-1], expected[2:], rtol=1e-12)
    assert rates[-1] < 0.0021


def test_moving_average_is_the_one_computed_by_hand():
    rows = make_rows()
    module, expected = make_module(norm=True), make_module(norm=True)
    run(module, rows, ema_decay=0.8)
    averages = [p.detach().clone() for p in expected.parameters()]

    def after_step():
        for average, p in zip(averages, expected.parameters(), strict=True):
            average.mul_(0.8).add_(p.detach(), alpha=0.2)

    by_hand(expected, rows, plain("adamw", expected), 4, after_step=after_step)
    for p, average in zip(module.parameters(), averages, strict=True):
        torch.testing.assert_close(p, nn.Parameter(average), rtol=0, atol=1e-12)
    # Buffers are those of the last step.
    for a, b in zip(module.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_validation_and_callbacks_see_the_average():
    module, rows = make_module(), make_rows()
    shown = []

    class Reports:
        def begin(self):
            shown.append(("begin", module[0].weight.detach().clone()))

        def end(self, record):
            shown.append(("end", module[0].weight.detach().clone()))

    run(module, rows, ema_decay=0.9, reports=Reports(), n_epochs=3)
    for (_, at_end), (_, at_begin) in zip(shown[1::2], shown[2::2], strict=False):
        assert not torch.equal(at_end, at_begin)
    assert torch.equal(shown[-1][1], module[0].weight.detach())


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_mixed_precision_computes_in_16_bits_and_keeps_weights(autocast):
    rows = tuple(t.float() if t is not None and t.is_floating_point() else t for t in make_rows())
    module, full = make_module().float(), make_module().float()
    seen = []

    def objective(module, batch):
        outputs = module(batch.inputs)
        seen.append(outputs.dtype)
        losses = functional.cross_entropy(outputs.float(), batch.targets, reduction="none")
        return {"label_loss": losses}

    training = run(module, rows, autocast=autocast, objective=objective)
    reference = run(full, rows)
    assert set(seen) == {autocast}
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert differ(module, full)
    losses = [[r["train_loss"] for r in t.history] for t in (training, reference)]
    np.testing.assert_allclose(*losses, rtol=0.05)


def test_early_stopping_restores_the_best_weights():
    module, rows = make_module(norm=True), make_rows()
    values = iter([3.0, 2.0, 1.0, 1.5, 1.2, 1.0, 0.1])
    kept = []

    def validate():
        assert not module.training
        kept.append({k: v.clone() for k, v in module.state_dict().items()})
        return next(values)

    training = run(module, rows, n_epochs=50, validate=validate, patience=3)
    assert len(training.history) == 6  # the third loss was the lowest; an equal one is no gain
    assert training.best_epoch == 3
    assert [r["valid_loss"] for r in training.history] == [3.0, 2.0, 1.0, 1.5, 1.2, 1.0]
    for name, value in module.state_dict().items():
        assert torch.equal(value, kept[2][name]), name


def test_a_callback_stops_the_training():
    class Reports:
        n_begun = 0

        def begin(self):
            self.n_begun += 1

        def end(self, record):
            return record["epoch"] == 2

    reports, module, expected = Reports(), make_module(), make_module()
    training = run(module, make_rows(), n_epochs=9, reports=reports)
    assert (reports.n_begun, len(training.history)) == (2, 2)
    by_hand(expected, make_rows(), plain("adamw", expected), 2)
    assert_equal_modules(module, expected, atol=1e-12)


# --- losses that are not finite ------------------------------------------------------------


def poisoned(at_step, then=math.nan):
    """Return an objective whose gradients and losses are fine until a step."""
    count = [0]

    def objective(module, batch):
        count[0] += 1
        losses = losses_of(module, batch)
        return {"label_loss": losses * then if count[0] > at_step else losses}

    return objective


def test_training_stops_where_the_loss_is_not_finite():
    module, expected, rows = make_module(norm=True), make_module(norm=True), make_rows()
    with pytest.warns(ConvergenceWarning, match="diverges in epoch 4.*from epoch 2.*Lower"):
        training = run(module, rows, n_epochs=9, objective=poisoned(9))
    assert len(training.history) == 3
    # The loss of epoch 3 was the lowest: it is that of the weights which epoch 2 has left.
    assert training.best_epoch == 2
    by_hand(expected, rows, plain("adamw", expected), 2)
    assert_equal_modules(module, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["clip_norm", "lr", "precision"])
def test_the_warning_says_what_to_change(name):
    with pytest.warns(ConvergenceWarning, match=name):
        run(make_module(), make_rows(), objective=poisoned(0))


def test_weights_that_break_at_the_last_step_are_not_kept():
    module, start, rows = make_module(), make_module(), make_rows()

    def objective(module, batch):  # a fine loss, with a gradient that is not
        losses = losses_of(module, batch)
        return {"label_loss": losses + (module[0].weight * 0).abs().sqrt().sum()}

    with pytest.warns(ConvergenceWarning, match="as they were at the start"):
        run(module, rows, n_epochs=1, objective=objective, batches=make_batches(rows, N))
    assert_equal_modules(module, start)


def test_a_step_that_breaks_the_weights_is_undone():
    """One batch an epoch: the loss of an epoch says nothing on the step it ends with."""
    module, start, rows = make_module(), make_module(), make_rows()
    with pytest.warns(ConvergenceWarning, match="as they were at the start"):
        training = run(
            module,
            rows,
            optimizer="sgd",
            lr=1e200,
            objective=lambda m, b: {"size": (m(b.inputs) ** 2).sum(1)},
            batches=make_batches(rows, N),
        )
    assert training.best_epoch is None
    assert_equal_modules(module, start)


def test_a_bad_validation_loss_restores_the_best_epoch():
    module, expected, rows = make_module(), make_module(), make_rows()
    values = iter([2.0, 1.0, math.nan])
    with pytest.warns(ConvergenceWarning, match="from epoch 2"):
        training = run(module, rows, n_epochs=9, validate=lambda: next(values))
    assert training.best_epoch == 2
    by_hand(expected, rows, plain("adamw", expected), 2)
    assert_equal_modules(module, expected, atol=1e-12)


def test_buffers_may_be_infinite():
    module = make_module()
    module.register_buffer("mask", torch.full((2,), -math.inf))
    run(module, make_rows())


# --- memory --------------------------------------------------------------------------------


class Hungry(nn.Module):
    """Has memory for a few rows only."""

    def __init__(self, module, room):
        super().__init__()
        self.module, self.room = module, room
        self.n_failed = 0

    def forward(self, x):
        if len(x) > self.room:
            self.n_failed += 1
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 3 GiB.")
        return self.module(x)


def test_out_of_memory_halves_the_passes():
    rows = make_rows(weighted=True)
    module, plenty = Hungry(make_module(), room=2), make_module()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(module, rows, optimizer="sgd")
    run(plenty, rows, optimizer="sgd")
    assert_equal_modules(module.module, plenty, atol=1e-12)
    messages = [str(w.message) for w in caught]
    assert len(messages) == module.n_failed == 2  # then it remembers
    assert all(w.category is RuntimeWarning for w in caught)
    assert "8 rows at once (out of memory. Tried to allocate 3 GiB)" in messages[0]
    assert "2 passes" in messages[0] and "4 passes" in messages[1]
    assert "batch_size" in messages[0] and "accumulate" in messages[0]


def test_out_of_memory_with_a_single_row_is_an_error():
    with pytest.warns(RuntimeWarning), pytest.raises(torch.OutOfMemoryError):
        run(Hungry(make_module(), room=0), make_rows())


# --- checkpoints ---------------------------------------------------------------------------


class Interrupt:
    """Reports that stop the process after some epochs."""

    def __init__(self, after):
        self.after = after

    def begin(self):
        pass

    def end(self, record):
        if record["epoch"] == self.after:
            raise KeyboardInterrupt


SETTINGS = {
    "plain": {},
    "cosine, average": {"kind": "cosine", "warmup": 0.3, "ema_decay": 0.9},
    "plateau, sgd": {"kind": "plateau", "optimizer": "sgd", "clip_norm": 0.5},
    "validated": {"validated": True, "patience": 3, "lr": 0.05},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tmp_path, settings, after):
    settings = dict(SETTINGS[settings])
    validated = settings.pop("validated", False)

    def go(module, n_epochs=7, **more):
        if validated:
            X, y, _ = make_rows(seed=9)
            more["validate"] = lambda: losses_of(module, Batch(X, y)).mean().item()
        torch.manual_seed(5)  # dropout
        return run(module, make_rows(), n_epochs=n_epochs, **settings, **more)

    whole = make_module(norm=True, dropout=0.3)
    expected = go(whole)
    first, second = (make_module(norm=True, dropout=0.3) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        go(first, reports=Interrupt(after + 1), checkpoint=Checkpoint(tmp_path, "key"))
    assert [path.name for path in tmp_path.iterdir()] == ["key.pt"]
    torch.manual_seed(99)
    resumed = go(second, checkpoint=Checkpoint(tmp_path, "key"))
    assert_equal_modules(second, whole)
    assert list(tmp_path.iterdir()) == []
    assert resumed.best_epoch == expected.best_epoch
    for a, b in zip(resumed.history, expected.history, strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}


def test_going_on_takes_only_the_epochs_that_are_left(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(
            make_module(),
            make_rows(),
            n_epochs=5,
            reports=Interrupt(4),
            checkpoint=Checkpoint(tmp_path, "key"),
        )
    begun = []

    class Reports:
        def begin(self):
            begun.append(1)

        def end(self, record):
            pass

    run(
        make_module(),
        make_rows(),
        n_epochs=5,
        reports=Reports(),
        checkpoint=Checkpoint(tmp_path, "key"),
    )
    assert len(begun) == 2


def interrupted(folder, key="key", **settings):
    """Return the checkpoint of a training that has been interrupted."""
    with pytest.raises(KeyboardInterrupt):
        run(
            make_module(),
            make_rows(),
            reports=Interrupt(3),
            checkpoint=Checkpoint(folder, key),
            **settings,
        )
    return folder / f"{key}.pt"


def damaged(content, n=60):
    """Yield a file with one bit turned, in `n` places, and with its end cut off."""
    for place in np.linspace(0, len(content) - 1, n).astype(int):
        turned = bytearray(content)
        turned[place] ^= 1 << (place % 8)
        yield bytes(turned)
        yield content[:place]


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    module, expected = make_module(), make_module()
    run(expected, make_rows())
    path = interrupted(tmp_path)
    contents = [b"nonsense", b"PK", path.read_bytes() * 2, *damaged(path.read_bytes())]
    for content in contents:
        path.write_bytes(content)
        with pytest.warns(RuntimeWarning, match="key.pt cannot be read .* starts anew. Delete"):
            assert Checkpoint(tmp_path, "key").load() is None
    with pytest.warns(RuntimeWarning, match="key.pt cannot be read"):
        run(module, make_rows(), checkpoint=Checkpoint(tmp_path, "key"))
    assert_equal_modules(module, expected)
    assert not path.exists()


def test_the_checkpoint_of_another_training_is_not_used(tmp_path):
    interrupted(tmp_path, "other", lr=0.5).rename(tmp_path / "key.pt")
    module, expected = make_module(), make_module()
    run(expected, make_rows())
    with pytest.warns(RuntimeWarning, match="key.pt cannot be read .* of another training"):
        run(module, make_rows(), checkpoint=Checkpoint(tmp_path, "key"))
    assert_equal_modules(module, expected)


def test_a_checkpoint_may_hold_numbers_of_numpy(tmp_path):
    module, expected = make_module(), make_module()
    run(expected, make_rows(), lr=0.02)
    interrupted(tmp_path, lr=np.float64(0.02))
    run(module, make_rows(), lr=np.float64(0.02), checkpoint=Checkpoint(tmp_path, "key"))
    assert_equal_modules(module, expected)


def test_a_checkpoint_that_dies_while_it_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    interrupted(tmp_path)
    path, save = tmp_path / "key.pt", torch.save
    before = path.read_bytes()

    def dies(state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        run(make_module(), make_rows(), checkpoint=Checkpoint(tmp_path, "key"), n_epochs=9)
    assert [p.name for p in tmp_path.iterdir()] == ["key.pt"] and path.read_bytes() == before
    monkeypatch.setattr(torch, "save", save)


def test_a_full_disk_ends_no_training(tmp_path):
    module, expected = make_module(), make_module()
    run(expected, make_rows())
    with full_disk(2000), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(module, make_rows(), checkpoint=Checkpoint(tmp_path, "key"))
    (warning,) = caught
    assert str(tmp_path / "key.pt") in str(warning.message) and "cannot be written" in str(warning)
    assert_equal_modules(module, expected)
    assert list(tmp_path.iterdir()) == []


def test_another_key_is_another_training(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(
            make_module(),
            make_rows(),
            reports=Interrupt(3),
            checkpoint=Checkpoint(tmp_path, "a"),
        )
    module, expected = make_module(), make_module()
    run(module, make_rows(), checkpoint=Checkpoint(tmp_path, "b"))
    run(expected, make_rows())
    assert_equal_modules(module, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


# --- penalties and all rows at once ----------------------------------------------------------


def test_a_penalty_pulls_after_each_step():
    rows, module, free = make_rows(), make_module(), make_module()
    parameters = list(module.parameters())
    start = [p.detach().clone() for p in parameters]
    run(module, rows, penalty=DistancePenalty([[Pull(parameters, start, 1e9)]]))
    run(free, rows)
    for p, anchor in zip(parameters, start, strict=True):
        torch.testing.assert_close(p.detach(), anchor, rtol=0, atol=1e-6)
    assert differ(module, free)


def full(module, rows, **settings):
    batches = RowBatches(*rows, N, IndexStream(N, None))
    parameters = list(module.parameters())
    settings = {"n_iterations": 500, "tol": 1e-9, "is_convex": True} | settings
    return train_full_batch(module, terms_of, batches, parameters=parameters, **settings)


@pytest.mark.parametrize("n_passes", [1, 4])
def test_all_rows_at_once_reaches_the_optimum(n_passes):
    from sklearn.linear_model import LogisticRegression

    X, y, weights = rows = make_rows(weighted=True)
    module = nn.Linear(WIDTH, N_CLASSES).double()
    penalty = DistancePenalty([[Pull([module.weight], None, 0.1)]])
    full(module, rows, penalty=penalty, n_passes=n_passes)
    reference = LogisticRegression(C=1 / (0.1 * N), tol=1e-12, max_iter=5000)
    reference.fit(X.numpy(), y.numpy(), weights.numpy())
    np.testing.assert_allclose(module.weight.detach().numpy(), reference.coef_, atol=1e-6)


def test_all_rows_at_once_says_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="3 iterations.*Raise max_epochs"):
        training = full(make_module(), make_rows(), n_iterations=3)
    assert len(training.history) == 3


def test_all_rows_at_once_gives_up_where_the_loss_is_not_finite():
    X, y, _ = make_rows()
    module, start = make_module(), make_module()
    with pytest.warns(ConvergenceWarning, match="not finite.*Scale the columns"):
        full(module, (X * math.nan, y, None))
    assert_equal_modules(module, start)


def test_global_generators_stay_as_they_are_and_threads_take_turns():
    """Without dropout no global number is drawn; two trainings at once are two in a row."""
    state = torch.get_rng_state()
    expected = make_module()
    run(expected, make_rows())
    modules = [make_module() for _ in range(4)]
    threads = [threading.Thread(target=run, args=(m, make_rows())) for m in modules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for module in modules:
        assert_equal_modules(module, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_swapping_the_average_twice_changes_nothing():
    module = make_module()
    average = MovingAverage(module, 0.5)
    with torch.no_grad():
        module[0].weight += 1
    average.update()
    before = module[0].weight.detach().clone()
    average.shown(lambda: None)
    assert torch.equal(module[0].weight.detach(), before)


def test_layers_may_begin_to_train_after_others_by_sgd():
    """The fused kernel gives the weights of the plain one, and takes parameters that come later."""
    trained = {}
    for kind in ("package", "plain"):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        groups = [{"params": list(network.parameters()), "lr": 0.1, "weight_decay": 0.01}]
        if kind == "package":
            optimizer = make_optimizer("sgd", groups, 0.9)
        else:
            optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        x = torch.randn(20, 4)
        for step in range(6):
            network[0].requires_grad_(step >= 3)
            optimizer.zero_grad()
            network(x).square().mean().backward()
            optimizer.step()
        trained[kind] = torch.cat([p.detach().ravel() for p in network.parameters()])
    torch.testing.assert_close(trained["package"], trained["plain"])
