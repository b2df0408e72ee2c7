"""Whether a trained model may serve: it must be better than every baseline, beyond chance and on enough people."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from core.counts import people_in_words
from ml.evaluation import Evaluation

# Fewer people are not enough for the interval: when a model helps most people a little and fails a few badly, a small
# sample misses those few. A model that is no better passes in 6 % of trials with 100 people, 12 % with 30, 46 % with 5.
LEAST_PEOPLE: Final = 100
# Items that differ in nothing may score alike. Above this share of the first ten, the scores order nothing.
MOST_TIED: Final = 0.2
# How far a model may be behind a version that served before it, as a share of that version's NDCG@10. A retraining is
# rarely better beyond chance, so this asks that it is not clearly worse.
MOST_BEHIND: Final = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate: it passed when `value` is on the right side of `limit`; `words` say which."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, with its reason in words for the record, and every check."""

    promote: bool
    reason: str
    checks: tuple[Check, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON: {verdict: PROMOTED or REFUSED, summary, checks: [{name, passed, value, limit, words}]}."""
        return {
            "verdict": "PROMOTED" if self.promote else "REFUSED",
            "summary": self.reason,
            "checks": [asdict(check) for check in self.checks],
        }


def verdict(evaluation: Evaluation, *, same_as: str | None = None) -> Verdict:
    """Promote when the candidate passes every check, on the same people and items.

    The mean difference of NDCG@10 to each baseline must be above zero with its whole 95 % interval, over at least
    LEAST_PEOPLE people; at most MOST_TIED of the scores at the top of a list may be equal to another one there; and the
    lower 95 % bound of the paired difference to each rival, a version that served before, must be above -MOST_BEHIND of
    that version's NDCG@10. `same_as` is the id of what serves, where that learned the same: to promote it again
    would change nothing. The export was already proved to rank like the trained network.
    """
    checks = tuple(_checks(evaluation, same_as))
    failed = [check for check in checks if not check.passed]
    if not failed:
        return Verdict(True, f"better than every baseline: {_comparison(evaluation)}{_of_rivals(evaluation)}", checks)
    return Verdict(False, _refusal(evaluation, failed), checks)


def why_baseline(baseline: Evaluation, refused: str) -> str:
    """Why a baseline serves in place of a refused model, for the record."""
    assert baseline.baseline is not None
    if not baseline.people:
        return f"{words(baseline.baseline)} serves, the simplest baseline. The model was refused: {refused}"
    found, served = (baseline.methods[name]["ndcg_at_10"].value for name in (baseline.baseline, baseline.candidate))
    return (
        f"{words(baseline.baseline)} serves, the best baseline: NDCG@10 {found:.4f} on"
        f" {people_in_words(baseline.people)}, and {served:.4f} as it serves, without what was bought too recently to"
        f" be wanted again. The model was refused: {refused}"
    )


def words(method: str) -> str:
    """The name of a method, for people.

    >>> words("personal_frequency")
    'personal frequency'
    """
    return method.replace("_", " ")


def _checks(evaluation: Evaluation, same_as: str | None) -> Iterator[Check]:
    people, tied = evaluation.people, evaluation.tied
    yield Check(
        "new",
        same_as is None,
        None,
        None,
        "it differs from what serves" if same_as is None else f"it learned the same as {same_as}, which serves",
    )
    yield Check(
        "people",
        people >= LEAST_PEOPLE,
        people,
        LEAST_PEOPLE,
        f"{people_in_words(people)} with an earlier order ordered again after the cut; at least {LEAST_PEOPLE} are"
        " needed",
    )
    yield Check(
        "ties",
        tied <= MOST_TIED,
        finite(tied),
        MOST_TIED,
        f"{tied:.0%} of the first ten scores of a list equal another one; at most {MOST_TIED:.0%} may",
    )
    for name, ahead in evaluation.ahead.items():
        yield Check(
            f"ahead_of_{name}",
            ahead.value > 0 and ahead.low > 0,
            finite(ahead.low),
            0.0,
            f"NDCG@10 {ahead.value:+.4f} against {words(name)}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f}; the whole"
            " interval must be above 0",
        )
    for name, ahead in evaluation.rivals.items():
        limit = -MOST_BEHIND * evaluation.methods[name]["ndcg_at_10"].value
        yield Check(
            f"not_behind_{name}",
            ahead.low > limit,
            finite(ahead.low),
            limit,
            f"NDCG@10 {ahead.value:+.4f} against the {name}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f}; the lower end"
            f" must be above {limit:+.4f}, {MOST_BEHIND:.0%} of what the {name} has",
        )


def _refusal(evaluation: Evaluation, failed: list[Check]) -> str:
    """The reason in words: the first thing that is wrong, with the figures."""
    if failed[0].name == "new":
        return f"no new model: {failed[0].words}. Nothing changes"
    if not evaluation.people:
        return "no person with an earlier order ordered again after the cut: there is nothing to compare"
    against = _comparison(evaluation)
    if evaluation.people < LEAST_PEOPLE:
        return (
            f"too few people: {evaluation.people:,} with an earlier order ordered again after the cut, and the gate"
            f" needs {LEAST_PEOPLE}; {against}"
        )
    if not evaluation.tied <= MOST_TIED:
        return (
            f"tied scores: {evaluation.tied:.0%} of the first ten scores of a list equal another one, so they order"
            f" little (at most {MOST_TIED:.0%} may); {against}"
        )
    behind = [name for name, ahead in evaluation.ahead.items() if not ahead.value > 0]
    if behind:
        return f"not better than {_listed(behind)}: {against}"
    unsure = [name for name, ahead in evaluation.ahead.items() if not ahead.low > 0]
    if unsure:
        return f"not better than {_listed(unsure)} beyond chance, the interval holds zero: {against}"
    return f"may be worse than what served before: {failed[0].words}; {against}"


def _comparison(evaluation: Evaluation) -> str:
    ours = evaluation.methods[evaluation.candidate]["ndcg_at_10"].value
    others = ", ".join(
        f"{words(name)} {evaluation.methods[name]['ndcg_at_10'].value:.4f}"
        f" ({ahead.value:+.4f}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f})"
        for name, ahead in evaluation.ahead.items()
    )
    return f"NDCG@10 {ours:.4f} on {people_in_words(evaluation.people)}, against {others}"


def _of_rivals(evaluation: Evaluation) -> str:
    found = (
        f"{name} {evaluation.methods[name]['ndcg_at_10'].value:.4f} ({ahead.value:+.4f})"
        for name, ahead in evaluation.rivals.items()
    )
    return "".join(f"; {each}" for each in found)


def finite(value: float) -> float | None:
    """The value for JSON, which has no NaN."""
    return float(value) if math.isfinite(value) else None


def _listed(names: list[str]) -> str:
    return ", ".join(map(words, names))
