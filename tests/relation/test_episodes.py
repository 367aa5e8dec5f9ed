"""Episodes: which samples they hold, in which sizes, and that they are drawn again after a stop."""

import numpy as np
import pytest
import torch

from skltransfer.relation._episodes import EpisodeBatches, EpisodePools, EpisodeSize

CODES = np.repeat(np.arange(6), [9, 9, 8, 8, 3, 7])
ROWS = torch.arange(len(CODES), dtype=torch.float64)[:, None]


def batches(size=None, seed=0, n_episodes=5, n_per_step=2, targets=None, groups=None, codes=CODES):
    pools = EpisodePools(codes, groups)
    size = pools.size("auto", 2, 3, None) if size is None else size
    generator = torch.Generator().manual_seed(seed)
    return EpisodeBatches(
        ROWS[: len(groups) if codes is None else None],
        targets,
        pools.of_size(size),
        size,
        n_episodes,
        n_per_step,
        generator,
        torch.device("cpu"),
    )


def test_an_episode_has_different_samples_of_different_classes():
    size, seen = EpisodeSize(3, 2, 4), set()
    for batch in batches(size, n_episodes=20, n_per_step=4):
        assert batch.support.inputs.shape == (4, 6, 1) and batch.query.inputs.shape == (4, 12, 1)
        for episode in range(len(batch)):
            parts = {}
            for part, n in ((batch.support, 2), (batch.query, 4)):
                rows = part.inputs[episode, :, 0].long().numpy()
                assert part.targets[episode].tolist() == np.repeat(np.arange(3), n).tolist()
                parts[n] = rows.reshape(3, n)
            classes = CODES[np.hstack([parts[2], parts[4]])]
            assert (classes == classes[:, :1]).all()
            assert len(set(classes[:, 0])) == 3
            assert len({*parts[2].ravel(), *parts[4].ravel()}) == 18
            seen |= set(classes[:, 0].tolist())
    assert seen == {0, 1, 2, 3, 5}  # class 4 has fewer than 6 samples


def test_all_samples_and_classes_are_drawn_alike():
    drawn = np.zeros(len(CODES))
    for batch in batches(EpisodeSize(2, 1, 2), n_episodes=3000, n_per_step=1000):
        for part in (batch.support, batch.query):
            np.add.at(drawn, part.inputs.long().numpy().ravel(), 1)
    expected = 3000 * 2 * 3 / 6 / np.bincount(CODES)[CODES]
    assert np.abs(drawn / expected - 1).max() < 0.2


def test_groups_do_not_meet_in_an_episode():
    groups = np.isin(CODES, (0, 1, 2)).astype(int)
    pools = EpisodePools(CODES, groups)
    assert pools.size("auto", 1, 1, np.array([1, 1, 1, 1])).n_way == 3
    for batch in batches(EpisodeSize(2, 1, 2), n_episodes=30, groups=groups):
        for rows in batch.query.inputs.long().numpy()[..., 0]:
            assert len(set(groups[rows].tolist())) == 1


def test_tasks_of_numbers_keep_their_targets():
    groups = np.repeat([0, 1, 2], [10, 4, 12])
    targets = torch.arange(26.0)
    size = EpisodePools(None, groups).size("auto", 3, 4, None)
    assert size == EpisodeSize(1, 3, 4)
    seen = set()
    for batch in batches(size, 0, 30, 5, targets, groups, codes=None):
        assert (batch.support.targets == batch.support.inputs[..., 0]).all()
        of_query = groups[batch.query.inputs.long().numpy()[..., 0]]
        assert (of_query == of_query[:, :1]).all()
        seen |= set(of_query[:, 0].tolist())
    assert seen == {0, 2}


def test_the_order_is_that_of_the_seed_and_goes_on_from_a_state():
    def rows(drawn):
        return [batch.query.inputs.ravel().tolist() for batch in drawn]

    first, again, other = batches(), batches(), batches(seed=1)
    epoch = rows(first)
    assert epoch == rows(again) != rows(other)
    state = first.streams[0].generator.get_state()
    later = rows(first)
    assert later != epoch
    again.streams[0].generator.set_state(state)
    assert rows(again) == later


@pytest.mark.parametrize("n_episodes, n_per_step, sizes", [(5, 2, [2, 2, 1]), (3, 8, [3])])
def test_an_epoch_has_its_episodes_in_batches(n_episodes, n_per_step, sizes):
    drawn = batches(n_episodes=n_episodes, n_per_step=n_per_step)
    assert len(drawn) == len(sizes)
    assert [len(batch) for batch in drawn] == sizes
    whole = next(iter(drawn))
    first, second = whole.split(2)
    assert len(first) + len(second) == sizes[0]
    assert (first.query.inputs == whole.query.inputs[: len(first)]).all()
    assert (second.support.targets == whole.support.targets[len(first) :]).all()


@pytest.mark.parametrize(
    "counts, given, support, expected",
    [
        ([20, 20, 20], ("auto",) * 3, [1, 1], (2, 1, 15)),
        ([20, 20, 20], ("auto",) * 3, [5, 9, 7, 6], (3, 5, 15)),
        ([20, 20, 20], ("auto",) * 3, [50, 50], (2, 10, 10)),
        ([20, 20, 20], ("auto",) * 3, None, (3, 10, 10)),
        ([6, 6, 2, 6], ("auto", 1, "auto"), [1, 1], (2, 1, 5)),
        ([2, 2], ("auto",) * 3, None, (2, 1, 1)),
        ([30, 4, 4, 4], (2, "auto", "auto"), [1, 1], (2, 1, 3)),
        ([9, 9], (2, 3, 4), [1, 1], (2, 3, 4)),
    ],
)
def test_sizes_that_follow_the_support_set(counts, given, support, expected):
    pools = EpisodePools(np.repeat(np.arange(len(counts)), counts), None)
    support = None if support is None else np.array(support)
    assert pools.size(*given, support) == EpisodeSize(*expected)


@pytest.mark.parametrize(
    "given, words",
    [
        ((7, 1, 1), "n_way=7, and the source has at most 6 classes. Lower n_way"),
        ((2, 9, 1), "n_shot . n_query = 9 . 1 samples of n_way=2 classes, and 0 classes"),
        ((3, 5, 4), "of n_way=3 classes, and 2 classes of the source have as many. Lower n_shot"),
    ],
)
def test_too_few_samples_for_an_episode(given, words):
    pools = EpisodePools(CODES, None)
    with pytest.raises(ValueError, match=words):
        pools.of_size(pools.size(*given, None))
    with pytest.raises(ValueError, match="of one task, and the largest task .* n_samples=44"):
        of_numbers = EpisodePools(None, np.zeros(44, int))
        of_numbers.of_size(of_numbers.size(1, 40, 5, None))
