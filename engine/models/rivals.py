"""The versions that a new model is compared with by the gate: the champion, and the anchor where that is another."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from db.anchors import current_anchor
from db.postgres import Pool
from db.serving import current_serving
from ml.affinity.model import AffinityModel
from ml.evaluation import Evaluation

log = structlog.get_logger()

CHAMPION, ANCHOR = "champion", "anchor"
_SAME = ("seed", "settings", "code", "data")  # what a training with these equal learns is equal


class Rivals(NamedTuple):
    """Opened bundles; None for one that there is not, or that this release cannot open."""

    champion: AffinityModel | None  # what serves, be it a trained model or a baseline
    anchor: AffinityModel | None

    def compared(self) -> dict[str, AffinityModel]:
        """Those to compare with: trained models (baselines are compared with anyway), each once."""
        found = {CHAMPION: self.champion, ANCHOR: self.anchor}
        trained = {name: each for name, each in found.items() if each and not each.evaluation.get("baseline")}
        if len(trained) == 2 and have_same_weights(trained[CHAMPION].training, trained[ANCHOR].training):
            del trained[ANCHOR]
        return trained

    def same_as(self, training: Mapping[str, Any]) -> str | None:
        """The id of what serves, if it learned the same as this training."""
        if self.champion is None:
            return None
        return self.champion.id if learned_the_same(training, self.champion.training) else None

    def replaces_anchor(self, evaluation: Evaluation) -> bool:
        """Whether a promoted model becomes the anchor: there is none, or it is better than that beyond chance."""
        if self.anchor is None or not evaluation.rivals:
            return True
        ahead = evaluation.rivals.get(ANCHOR) or evaluation.rivals[CHAMPION]
        return ahead.low > 0


NONE = Rivals(None, None)


async def open_rivals(pool: Pool, folder: Path) -> Rivals:
    """What serves, and the anchor."""
    row, anchor = await current_serving(pool), await current_anchor(pool)
    return Rivals(await _opened(folder, row.bundle if row else None), await _opened(folder, anchor))


def learned_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two trainings, as bundles describe them, had the same data, code, settings and seed, or weights."""
    known = all(each in one and each in other for each in _SAME)
    same = known and all(_as_json(one[each]) == _as_json(other[each]) for each in _SAME)
    return same or have_same_weights(one, other)


def have_same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two trainings gave the same weights; those of earlier releases do not say."""
    return "weights_sha256" in one and one["weights_sha256"] == other.get("weights_sha256")


async def _opened(folder: Path, id: str | None) -> AffinityModel | None:
    if id is None:
        return None
    try:
        return await asyncio.to_thread(AffinityModel.open, folder / id)
    except Exception as error:  # of a release with other features, or gone: whatever is wrong, the training goes on
        log.warning("version_not_compared", bundle=id, why=str(error) or repr(error))
        return None


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
