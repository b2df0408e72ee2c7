"""May this model serve? It must be better on average than each baseline that costs nothing."""

from dataclasses import dataclass

from ml.evaluation import RANKER, Evaluation


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, in words for the record of decisions."""

    promote: bool
    reason: str


def verdict(evaluation: Evaluation) -> Verdict:
    """Promote when NDCG@10 is above that of popularity and of personal frequency, on the same people and items.

    That the export ranks like the Keras model was proved before there was anything to judge.
    """
    if not evaluation.people:
        return Verdict(False, "nobody with an earlier order came back after the cut: there is nothing to judge by")
    ours = evaluation.methods[RANKER]["ndcg_at_10"].value
    told = ", ".join(
        f"{name} {evaluation.methods[name]['ndcg_at_10'].value:.4f}"
        f" ({ahead.value:+.4f}, 95 % {ahead.low:+.4f} to {ahead.high:+.4f})"
        for name, ahead in evaluation.ahead.items()
    )
    found = f"NDCG@10 {ours:.4f} on {evaluation.people:,} people, against {told}"
    return Verdict(evaluation.better, ("better on average: " if evaluation.better else "not better: ") + found)
