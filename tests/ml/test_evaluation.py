"""An evaluation compares any named methods on the same people."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.baselines.methods import BASELINES, baseline_methods
from ml.baskets import first_baskets
from ml.evaluation import Contest, Evaluation, Method, evaluate
from ml.gate import verdict
from ml.log import Log
from ml.snapshot import best_supported, snapshot
from ml.splits import Window
from ml.state import Table

MakeLog = Callable[..., Log]
DAY = 86_400


def ignored(done: int, of: int) -> None:
    """Progress that no test reads."""


def oracle(log: Log, cut: int) -> Method:
    """A method that knows the baskets: it recognises a person by the purchases."""
    baskets = first_baskets(log, cut)
    visits = zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True)
    basket_of = {log.history(*visit).tobytes(): baskets[index] for index, visit in enumerate(visits)}

    def method(purchases: Table, as_of: int) -> NDArray[np.uint32]:
        assert (purchases["occurred"] < as_of).all()
        return basket_of[purchases.tobytes()]

    return method


def evaluated(log: Log, now: int, candidate: str) -> Evaluation:
    cut = now - 60 * DAY
    numbers = best_supported(log, 80)
    past = log.between(None, cut)
    baselines = baseline_methods(past, snapshot(past, numbers, cut))
    methods = {"oracle": oracle(log, cut), "none": lambda *_: np.empty(0, np.uint32), **baselines}
    contests = [Contest(Window(cut, now + DAY), numbers, methods)]
    return evaluate(log, cut, contests, candidate=candidate, baselines=BASELINES, seed=1, report=ignored)


def test_every_named_method_is_measured(make_log: MakeLog, now: int) -> None:
    evaluation = evaluated(make_log(), now, "oracle")
    assert set(evaluation.methods) == {"oracle", "none", *BASELINES}
    assert list(evaluation.ahead) == list(BASELINES)
    assert evaluation.methods["oracle"]["ndcg_at_10"].value == 1
    assert evaluation.methods["oracle"]["mrr"].value == 1
    assert evaluation.methods["none"]["ndcg_at_10"].value == evaluation.methods["none"]["coverage_at_10"].value == 0
    assert evaluation.people > 40


def test_the_candidate_alone_is_compared_with_the_baselines(make_log: MakeLog, now: int) -> None:
    log = make_log(people=150)
    best, worst = evaluated(log, now, "oracle"), evaluated(log, now, "none")
    assert verdict(best).promote
    assert not verdict(worst).promote
    assert best.methods == worst.methods
    for name in BASELINES:
        assert best.ahead[name].value == pytest.approx(1 - best.methods[name]["ndcg_at_10"].value)
        assert worst.ahead[name].value == pytest.approx(-worst.methods[name]["ndcg_at_10"].value)


def test_the_document_has_the_keys_that_are_shown(make_log: MakeLog, now: int) -> None:
    document = evaluated(make_log(), now, "oracle").document()
    shown = {
        "protocol",
        "cut_at",
        "cut",
        "people",
        "items",
        "basket",
        "methods",
        "ahead",
        "candidate",
        "tied",
        "baseline",
        "rivals",
        "gate",
        "tables",
        "tables_as_of",
    }
    assert set(document) == shown
    assert set(document["methods"]["oracle"]["mrr"]) == {"value", "low", "high"}
