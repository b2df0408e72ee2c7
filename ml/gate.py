"""Whether a trained model may serve: it must be better than every baseline, beyond chance and on enough people."""

from dataclasses import dataclass
from typing import Final

from ml.evaluation import Evaluation

# Fewer people are not enough for the interval: when a model helps most people a little and fails a few badly, a small
# sample misses those few. A model that is no better passes in 6 % of trials with 100 people, 12 % with 30, 46 % with 5.
LEAST_PEOPLE: Final = 100
# Items that differ in nothing may score alike. Above this share of the first ten, the scores order nothing.
MOST_TIED: Final = 0.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, with its reason in words for the record."""

    promote: bool
    reason: str


def verdict(evaluation: Evaluation) -> Verdict:
    """Promote when the candidate is better than each baseline, on the same people and items.

    The mean difference of NDCG@10 must be above zero with its whole 95 % interval, over at least LEAST_PEOPLE people;
    and at most MOST_TIED of the scores at the top of a list may be equal to another one there. The export was already
    proved to rank like the trained network.
    """
    if not evaluation.people:
        return Verdict(
            False, "no person with an earlier order ordered again after the cut: there is nothing to compare"
        )
    against = _comparison(evaluation)
    if evaluation.people < LEAST_PEOPLE:
        return Verdict(
            False,
            f"too few people: {evaluation.people:,} with an earlier order ordered again after the cut, and the gate"
            f" needs {LEAST_PEOPLE}; {against}",
        )
    if evaluation.tied > MOST_TIED:
        return Verdict(
            False,
            f"tied scores: {evaluation.tied:.0%} of the first ten scores of a list equal another one, so they order"
            f" little (at most {MOST_TIED:.0%} may); {against}",
        )
    behind = [name for name, ahead in evaluation.ahead.items() if not ahead.value > 0]
    if behind:
        return Verdict(False, f"not better than {_listed(behind)}: {against}")
    unsure = [name for name, ahead in evaluation.ahead.items() if not ahead.low > 0]
    if unsure:
        return Verdict(False, f"not better than {_listed(unsure)} beyond chance, the interval holds zero: {against}")
    return Verdict(True, f"better than every baseline: {against}")


def why_baseline(baseline: Evaluation, refused: str) -> str:
    """Why a baseline serves in place of a refused model, for the record."""
    assert baseline.baseline is not None
    if not baseline.people:
        return f"{words(baseline.baseline)} serves, the simplest baseline. The model was refused: {refused}"
    found = baseline.methods[baseline.baseline]["ndcg_at_10"].value
    return (
        f"{words(baseline.baseline)} serves, the best baseline: NDCG@10 {found:.4f} on {_people(baseline.people)}."
        f" The model was refused: {refused}"
    )


def words(method: str) -> str:
    """The name of a method, for people.

    >>> words("personal_frequency")
    'personal frequency'
    """
    return method.replace("_", " ")


def _comparison(evaluation: Evaluation) -> str:
    ours = evaluation.methods[evaluation.candidate]["ndcg_at_10"].value
    others = ", ".join(
        f"{words(name)} {evaluation.methods[name]['ndcg_at_10'].value:.4f}"
        f" ({ahead.value:+.4f}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f})"
        for name, ahead in evaluation.ahead.items()
    )
    return f"NDCG@10 {ours:.4f} on {_people(evaluation.people)}, against {others}"


def _people(count: int) -> str:
    return f"{count:,} {'person' if count == 1 else 'people'}"


def _listed(names: list[str]) -> str:
    return ", ".join(map(words, names))
