"""Small and odd logs, and fits that fail: nothing that collapsed is promoted; versions that served are compared."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ml.affinity.model import AffinityModel
from ml.affinity.network import Network
from ml.affinity.refreshing import refreshed
from ml.affinity.validation_lists import ValidationLists
from ml.choosing import best_of
from ml.gate import verdict
from ml.log import Log, NothingToLearn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity import fitting
    from ml.affinity.config import TrainingConfig
    from ml.affinity.export import ExportDiffers
    from ml.affinity.training import TrainedAffinity, train
    from ml.affinity.variants import RANKER

MakeLog = Callable[..., Log]
DAY = 86_400
BRIEF = TrainingConfig(item_limit=80, cuts=2, models=1, epochs=2, batch=16, list_length=64)


def ignored(stage: str, done: int, of: int) -> None:
    """Progress that no test reads."""


def test_a_loss_of_nan_ends_the_training(make_log: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitting.fit

    def diverged(*arguments: Any, **named: Any) -> fitting.Fitted:
        fitted = fit(*arguments, **named)
        nan = {epochs: [np.full_like(each, np.nan) for each in kept] for epochs, kept in fitted.stops.items()}
        return fitted._replace(stops=nan)

    monkeypatch.setattr(fitting, "fit", diverged)
    with pytest.raises(ExportDiffers):
        train(make_log(people=12), None, ignored, BRIEF)


def test_weights_that_are_not_finite_are_never_chosen() -> None:
    features = [np.ones((3, 2), np.float32)]
    lists = ValidationLists(features, [np.array([1, 2, 3], np.uint32)], [np.array([1], np.uint32)])
    nan = lists.ndcg(Network((np.full((2, 1), np.nan, np.float32),), (np.zeros(1, np.float32),)))
    fine = lists.ndcg(Network((np.ones((2, 1), np.float32),), (np.zeros(1, np.float32),)))
    assert fine.tolist() == [1.0], "of equals the lowest number is first"
    assert best_of({"nan": nan, "fine": fine}).name == "fine"
    assert best_of({"fine": fine, "nan": nan}).name == "fine"


def test_a_shop_of_50_items_and_20_orders_promotes_nothing(make_log: MakeLog) -> None:
    log = make_log(people=5, items=50, orders=4)
    try:
        trained = train(log, None, ignored, BRIEF)
    except NothingToLearn:
        return
    judged = verdict(trained.evaluation)
    assert not judged.promote
    assert not next(check for check in judged.checks if check.name == "people").passed
    baseline = trained.best_baseline(ignored)
    assert np.isfinite(baseline.network.kernels[0]).all()


@pytest.fixture(scope="module")
def champion(make_log: MakeLog, tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, TrainedAffinity, AffinityModel]:
    """A log of one category, what is trained on it, and its bundle with refreshed tables."""
    log = make_log(people=40)
    log = replace(log, category=np.zeros(len(log.numbers), np.int32))
    trained, folder = train(log, None, ignored, BRIEF), tmp_path_factory.mktemp("bundles")
    opened = AffinityModel.open(trained.write(folder, datetime(2026, 1, 1, tzinfo=UTC)))
    made = refreshed(opened, log, int(log.occurred.max()) + 1)
    return log, trained, AffinityModel.open(made.write(folder, datetime(2026, 1, 2, tzinfo=UTC)))


def test_a_version_that_served_is_judged_with_tables_as_of_the_cut(
    champion: tuple[Log, TrainedAffinity, AffinityModel],
) -> None:
    log, trained, serving = champion
    again = train(log, None, ignored, BRIEF, rivals={"champion": serving})
    assert again.evaluation.methods["champion"] == trained.evaluation.methods[RANKER], "its newer tables are not used"
    ahead = again.evaluation.rivals["champion"]
    assert (ahead.value, ahead.low, ahead.high) == (0, 0, 0), "the same seed and data give the same lists"
    (check,) = (each for each in verdict(again.evaluation).checks if each.name == "not_behind_champion")
    assert check.passed
    assert again.training["weights_sha256"] == serving.training["weights_sha256"]


def test_a_worse_version_is_behind_the_champion(champion: tuple[Log, TrainedAffinity, AffinityModel]) -> None:
    log, _, serving = champion
    worse = replace(serving.network, kernels=(*serving.network.kernels[:-1], -serving.network.kernels[-1]))
    again = train(log, None, ignored, BRIEF, rivals={"champion": replace(serving, network=worse)})
    assert again.evaluation.rivals["champion"].low > 0
    upside_down = replace(again.evaluation, rivals={"champion": negative(again.evaluation.rivals["champion"])})
    assert "not_behind_champion" in {check.name for check in verdict(upside_down).checks if not check.passed}


def negative(score: Any) -> Any:
    return replace(score, value=-score.value, low=-score.high, high=-score.low)
