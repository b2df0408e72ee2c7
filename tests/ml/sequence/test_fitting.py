"""The net in Keras: it learns an order that no count knows, and serves what it learned."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ml.log import Log
from ml.sequence.blending import with_best_weight
from ml.sequence.config import config_for
from ml.sequence.lessons import Lesson, lesson_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.sequence.export import SequenceExportDiffers, check_parity, exported
    from ml.sequence.fitting import Batches, SequenceModel, fit
    from ml.sequence.histories import Histories
    from ml.sequence.training import TrainedSequence, train_sequence

MakeLog = Callable[..., Log]


@pytest.fixture(scope="module")
def lesson(make_sequences: MakeLog) -> Lesson:
    log = make_sequences(people=400)
    last = int(log.occurred.max())
    return lesson_of(log.between(None, last), log, log.numbers, last, last + 60, seed=1)


@pytest.fixture(scope="module")
def trained(lesson: Lesson) -> TrainedSequence:
    done: list[tuple[int, int]] = []
    brief = replace(config_for(lesson.histories, lesson.items, 3), epochs=6)
    found = train_sequence(lesson, lambda epoch, of: done.append((epoch, of)), 3, brief)
    assert done == [(epoch + 1, 6) for epoch in range(6)]
    return found


def test_the_net_learns_what_comes_next(trained: TrainedSequence, lesson: Lesson) -> None:
    assert trained.ndcg > 0.5, "seven of ten people take the item after the last one; by chance it is .09"
    assert trained.parity < 1e-4
    chance = [np.array([(rows[-1] + 7) % lesson.items], np.int32) for rows in lesson.known]
    assert with_best_weight(trained.blend, lesson.known, chance, again=False)[1] < 0.3


def fitted(lesson: Lesson) -> SequenceModel:
    brief = replace(config_for(lesson.histories, lesson.items, 3), epochs=1, batch=128)
    return fit(lesson.histories, lesson.items, lesson.attributes, brief, lambda done: None)


@pytest.fixture(scope="module")
def model(lesson: Lesson) -> SequenceModel:
    return fitted(lesson)


def test_the_same_seed_gives_the_same_net(lesson: Lesson, model: SequenceModel) -> None:
    rows = lesson.known[0]
    assert np.allclose(exported(model).logits(rows), exported(fitted(lesson)).logits(rows), atol=1e-3)


def test_a_net_that_was_exported_wrongly_is_refused(lesson: Lesson, model: SequenceModel) -> None:
    net = exported(model)
    assert check_parity(model, net, lesson.known[:20]) < 1e-4
    bias = np.arange(net.bias.size, dtype=np.float32).reshape(net.bias.shape)
    for broken in (replace(net, bias=bias), replace(net, vectors=net.vectors[::-1]), replace(net, last=-net.last)):
        with pytest.raises(SequenceExportDiffers):
            check_parity(model, broken, lesson.known[:20])
    with pytest.raises(SequenceExportDiffers):
        check_parity(model, replace(net, last=net.last * np.float32(np.nan)), lesson.known[:20])


def test_attributes_and_a_sampled_softmax_are_learned_from_too(lesson: Lesson) -> None:
    config = replace(config_for(lesson.histories, lesson.items, 3), epochs=6, most_full=10, drawn=24)
    kinds = np.stack([np.arange(lesson.items) % 5, np.where(np.arange(lesson.items) % 2, -1, 5)], 1).astype(np.int32)
    assert Batches(lesson.histories, lesson.items, config).sampled
    found = train_sequence(replace(lesson, attributes=kinds), lambda done, of: None, 3, config)
    assert found.ndcg > 0.4
    assert found.parity < 1e-4


@pytest.mark.parametrize(("people", "lines", "items"), [(50, 6, 40), (20_000, 8, 12_000), (6_000, 160, 3_500)])
def test_settings_follow_from_the_size_of_the_log(people: int, lines: int, items: int) -> None:
    known = Histories(np.zeros(people * lines, np.int32), np.arange(people + 1) * lines)
    config = config_for(known, items, seed=1)
    assert 5 <= config.epochs <= 25
    assert config.batch in (16, 32, 64, 128)
    assert (config.blocks, config.length) == ((2, 50) if lines > 20 else (1, 32))
    if people == 50:
        assert config.batch == 16
