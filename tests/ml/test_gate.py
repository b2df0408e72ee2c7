"""The gate refuses what only chance, or nothing, makes better; each refusal says why."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation import Evaluation, Score
from ml.gate import LEAST_PEOPLE, verdict, why_baseline
from ml.metrics import tied

RIVAL = Score(0.3, 0.2, 0.4)
CLEAR, UNSURE, BEHIND = Score(0.05, 0.02, 0.08), Score(0.05, -0.01, 0.11), Score(-0.05, -0.08, -0.02)


def evaluation(people: int = LEAST_PEOPLE, **ahead: Score) -> Evaluation:
    """A candidate that is clearly ahead of every baseline, but for `ahead`."""
    differences = {"popularity": CLEAR, "personal_frequency": CLEAR, "decayed_frequency": CLEAR} | ahead
    ours = {"ranker": {"ndcg_at_10": Score(0.3, 0.2, 0.4)}}
    theirs = {name: {"ndcg_at_10": Score(0.3 - each.value, 0.1, 0.4)} for name, each in differences.items()}
    return Evaluation(0, people, 50, 2.0, ours | theirs, differences, "ranker")


def test_a_model_that_is_clearly_better_on_enough_people_is_promoted() -> None:
    judged = verdict(evaluation())
    assert judged.promote
    assert judged.reason == (
        "better than every baseline: NDCG@10 0.3000 on 100 people, against popularity 0.2500 (+0.0500, 95 % +0.0200 to"
        " +0.0800), personal frequency 0.2500 (+0.0500, 95 % +0.0200 to +0.0800), decayed frequency 0.2500 (+0.0500,"
        " 95 % +0.0200 to +0.0800)"
    )


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (evaluation(0), "no person with an earlier order ordered again after the cut"),
        (evaluation(2), "too few people: 2 with an earlier order ordered again after the cut, and the gate needs 100;"),
        (evaluation(LEAST_PEOPLE - 1), "too few people: 99 "),
        (replace(evaluation(), tied=0.9), "tied scores: 90% of the first ten scores of a list equal another one"),
        (evaluation(decayed_frequency=BEHIND), "not better than decayed frequency: NDCG@10 0.3000 on 100 people"),
        (evaluation(popularity=UNSURE), "not better than popularity beyond chance, the interval holds zero: NDCG"),
        (evaluation(popularity=Score(0.05, 0.0, 0.11)), "not better than popularity beyond chance"),
        (evaluation(popularity=Score(float("nan"), 0.1, 0.2)), "not better than popularity"),
    ],
)
def test_every_refusal_has_its_reason(judged: Evaluation, reason: str) -> None:
    refused = verdict(judged)
    assert not refused.promote
    assert refused.reason.startswith(reason)


def rivalled(**rivals: Score) -> Evaluation:
    """A candidate that is ahead of every baseline, beside versions that served, each with NDCG@10 of .3."""
    judged = evaluation()
    return replace(judged, rivals=rivals, methods=judged.methods | {name: {"ndcg_at_10": RIVAL} for name in rivals})


@pytest.mark.parametrize("name", ["champion", "anchor"])
def test_a_model_may_not_be_clearly_worse_than_a_version_that_served(name: str) -> None:
    close, worse = Score(-0.001, -0.0029, 0.001), Score(0.001, -0.0031, 0.005)
    assert verdict(rivalled(**{name: close})).promote
    refused = verdict(rivalled(**{name: worse}))
    assert not refused.promote
    assert refused.reason.startswith(f"may be worse than what served before: NDCG@10 +0.0010 against the {name}, 95 %")
    assert not verdict(rivalled(**{name: Score(0.1, float("nan"), 0.2)})).promote
    other = {"champion": close, "anchor": close, name: worse}
    assert [check.name for check in verdict(rivalled(**other)).checks if not check.passed] == [f"not_behind_{name}"]


def test_a_model_that_learned_the_same_as_what_serves_is_no_promotion() -> None:
    refused = verdict(evaluation(), same_as="affinity-1")
    assert not refused.promote
    assert refused.reason == "no new model: it learned the same as affinity-1, which serves. Nothing changes"


def test_the_document_has_every_check_with_its_value_limit_and_words() -> None:
    judged = replace(evaluation(popularity=UNSURE), tied=float("nan"))
    document = verdict(judged).document()
    assert document["verdict"] == "REFUSED"
    assert document["summary"] == verdict(judged).reason
    checks = {check["name"]: check for check in document["checks"]}
    assert list(checks) == [
        "new",
        "people",
        "ties",
        "ahead_of_popularity",
        "ahead_of_personal_frequency",
        "ahead_of_decayed_frequency",
    ]
    assert {name for name, check in checks.items() if not check["passed"]} == {"ties", "ahead_of_popularity"}
    assert (checks["people"]["value"], checks["people"]["limit"]) == (100, LEAST_PEOPLE)
    assert (checks["ahead_of_popularity"]["value"], checks["ahead_of_popularity"]["limit"]) == (-0.01, 0.0)
    assert checks["ties"]["value"] is None, "JSON has no NaN"
    json.dumps(document, allow_nan=False)
    assert verdict(evaluation()).document()["verdict"] == "PROMOTED"


def test_the_best_baseline_is_the_one_with_the_highest_metric_and_of_equals_the_simplest() -> None:
    assert evaluation().best_baseline == "popularity"
    assert evaluation(personal_frequency=BEHIND).best_baseline == "personal_frequency"
    nothing = Score(0.0, 0.0, 0.0)
    assert evaluation(0, popularity=nothing, personal_frequency=nothing).best_baseline == "popularity"


def test_the_reason_of_a_baseline_names_it_and_why_the_model_was_refused() -> None:
    served = replace(evaluation(1, personal_frequency=BEHIND), baseline="personal_frequency")
    assert why_baseline(served, "too few") == (
        "personal frequency serves, the best baseline: NDCG@10 0.3500 on 1 person, and 0.3000 as it serves, without"
        " what was bought too recently to be wanted again. The model was refused: too few"
    )


def test_equal_scores_at_the_top_are_tied_wherever_they_are() -> None:
    assert tied(np.full(50, 8.8e-27, np.float32)) == 1
    assert tied(np.array([0.3, 0.1, 0.2], np.float32)) == 0
    assert tied(np.append(np.linspace(0.1, 1, 10), [0.01, 0.01]).astype(np.float32)) == 0, "below the first ten"
    assert tied(np.empty(0, np.float32)) == 0
