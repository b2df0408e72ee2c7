"""The net as it serves, against a slow copy of its formulas; bundles that do not fit are refused."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import bundle
from ml.bundle import Bundle, BundleRefused
from ml.sequence.blending import SequenceBlend, best_rows, with_best_weight
from ml.sequence.rules import LineRules
from ml.sequence.serving import SequenceNet

ITEMS, WIDTH, HEADS, LENGTH, HIDDEN, BLOCKS = 30, 8, 2, 6, 12, 2


@pytest.fixture
def blend() -> SequenceBlend:
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return random.normal(0, 0.5, shape).astype(np.float32)

    net = SequenceNet(
        vectors=drawn(ITEMS, WIDTH),
        into=drawn(BLOCKS, WIDTH, 3 * WIDTH),
        out=drawn(BLOCKS, WIDTH, WIDTH),
        bias=drawn(BLOCKS, HEADS, LENGTH),
        gate=drawn(BLOCKS, WIDTH, 2 * HIDDEN),
        through=drawn(BLOCKS, HIDDEN, WIDTH),
        last=drawn(WIDTH),
    )
    rules = LineRules(random.integers(0, ITEMS, (ITEMS + 1, 4)).astype(np.int32), np.abs(drawn(ITEMS + 1, 4)))
    return SequenceBlend(net, rules, 0.2)


def slow_vector(net: SequenceNet, rows: list[int]) -> Any:
    """The same, line by line and head by head."""
    size = WIDTH // HEADS
    lines = [net.vectors[row].astype(float) * WIDTH**0.5 for row in rows[-LENGTH:]]

    def normal(line: Any) -> Any:
        return line / np.sqrt((line**2).mean() + 1e-6)

    for block in range(BLOCKS):
        parts = [normal(line) @ net.into[block] for line in lines]
        seen = []
        for at, line in enumerate(lines):
            heads = []
            for head in range(HEADS):
                cut = [slice(kind * WIDTH + head * size, kind * WIDTH + (head + 1) * size) for kind in range(3)]
                scores = [
                    parts[at][cut[0]] @ parts[before][cut[1]] + net.bias[block, head, at - before]
                    for before in range(at + 1)
                ]
                shares = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(share * parts[before][cut[2]] for before, share in enumerate(shares)))
            seen.append(line + np.concatenate(heads) @ net.out[block])
        lines = []
        for line in seen:
            both = normal(line) @ net.gate[block]
            gate = both[:HIDDEN] / (1 + np.exp(-both[:HIDDEN]))
            lines.append(line + (gate * both[HIDDEN:]) @ net.through[block])
    return normal(lines[-1]) * net.last


@pytest.mark.parametrize("rows", [[3], [1, 2, 3], [7, 7, 1, 4, 29, 0, 5, 6, 11]])
def test_a_person_is_read_as_the_formulas_say(blend: SequenceBlend, rows: list[int]) -> None:
    found = blend.net.person_vector(np.array(rows, np.int32))
    assert np.allclose(found, slow_vector(blend.net, rows), atol=1e-4)


def test_only_the_newest_lines_count_and_their_order_does(blend: SequenceBlend) -> None:
    rows = np.arange(12, dtype=np.int32)
    assert (blend.net.logits(rows) == blend.net.logits(rows[-LENGTH:])).all()
    assert not np.allclose(blend.net.logits(rows), blend.net.logits(np.append(rows[:-2], rows[:-3:-1])))
    assert (blend.net.logits(rows[:0]) == 0).all()


def test_scores_are_logarithms_of_shares(blend: SequenceBlend) -> None:
    scores = blend.scores(np.array([1, 2, 3], np.int32))
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-4)


def test_the_weight_is_chosen_that_foretells_best(blend: SequenceBlend) -> None:
    known = [np.array([row], np.int32) for row in range(ITEMS)]
    by_rules = [best_rows(blend.rules.sums(rows), rows, 1).astype(np.int32) for rows in known]
    by_net = [best_rows(blend.net.logits(rows), rows, 1).astype(np.int32) for rows in known]
    assert with_best_weight(blend, known, by_net, again=False) == (with_weight(blend, 0.0), 1.0)
    best, found = with_best_weight(blend, known, by_rules, again=False)
    assert best.weight >= 0.35
    assert found > with_best_weight(blend, known, [np.array([29], np.int32)] * ITEMS, again=False)[1]


def with_weight(blend: SequenceBlend, weight: float) -> Any:
    class Same:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, SequenceBlend) and other.net is blend.net and other.weight == weight

    return Same()


def test_known_items_are_left_out_only_where_nobody_buys_again() -> None:
    scores = np.array([0.1, 0.9, 0.5])
    assert best_rows(scores, None, 2).tolist() == [1, 2]
    assert best_rows(scores, np.array([1], np.int32), 2).tolist() == [2, 0]


def test_a_bundle_gives_the_same_blend_back(blend: SequenceBlend, tmp_path: Path) -> None:
    opened = Bundle.open(bundle.write(tmp_path, "sequence", blend.parts(), datetime(2026, 1, 1, tzinfo=UTC)))
    rows = np.array([4, 9, 2], np.int32)
    assert SequenceBlend.is_in(opened)
    assert (SequenceBlend.read(opened).scores(rows) == blend.scores(rows)).all()


@pytest.mark.parametrize("part", ["vectors", "into", "bias", "through", "next", "weight"])
def test_arrays_that_do_not_fit_together_are_refused(blend: SequenceBlend, tmp_path: Path, part: str) -> None:
    parts = blend.parts()
    array = parts[f"sequence_{part}"]
    parts[f"sequence_{part}"] = {"weight": np.zeros(2, np.float32), "bias": array[:-1]}.get(part, array.T[:-1].T)
    opened = Bundle.open(bundle.write(tmp_path, "sequence", parts, datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(BundleRefused):
        SequenceBlend.read(opened)


def test_a_blend_serves_other_items_too(blend: SequenceBlend) -> None:
    rows = np.array([5, 30, 3, 9, 30], np.int32)  # of five items, two of them new
    other = blend.of(rows)
    assert other.items == 5
    before, after = blend.net.logits(np.array([9, 3], np.int32)), other.net.logits(np.array([3, 2], np.int32))
    assert np.allclose(after[[0, 2, 3]], before[[5, 3, 9]], atol=1e-5)
    sums, less = blend.rules.sums(np.array([9, 3], np.int32)), other.rules.sums(np.array([3, 2], np.int32))
    assert np.allclose(less[[0, 2, 3]], sums[[5, 3, 9]])
    assert (less[[1, 4]] == 0).all()
    more = blend.of(np.append(np.arange(ITEMS), [ITEMS, ITEMS]).astype(np.int32))
    scores = replace(more, weight=0.0).scores(np.array([3], np.int32))
    assert (scores[-2:] <= -np.log(ITEMS + 2)).all(), "a new item is not likelier than by chance"
