"""Whether a trained model may serve: it must be better on average than each mandatory baseline."""

from dataclasses import dataclass

from ml.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, with its reason in words for the record."""

    promote: bool
    reason: str


def verdict(evaluation: Evaluation) -> Verdict:
    """Promote when the candidate's NDCG@10 is above that of each mandatory baseline, on the same people and items.

    The export was already proved to rank like the trained network.
    """
    if not evaluation.people:
        return Verdict(
            False, "no person with an earlier order ordered again after the cut: there is nothing to compare"
        )
    ours = evaluation.methods[evaluation.candidate]["ndcg_at_10"].value
    others = ", ".join(
        f"{name} {evaluation.methods[name]['ndcg_at_10'].value:.4f}"
        f" ({ahead.value:+.4f}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f})"
        for name, ahead in evaluation.ahead.items()
    )
    found = f"NDCG@10 {ours:.4f} on {evaluation.people:,} people, against {others}"
    return Verdict(evaluation.better, ("better on average: " if evaluation.better else "not better: ") + found)
