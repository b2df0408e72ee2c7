"""What the gate said of a model: its checks, or, for models of earlier versions, its reason alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from db.postgres import Connection
from db.serving import Decision, Model, gate_decisions
from ml.gate import Check


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict, in words too, with the checks behind it."""

    verdict: Literal["PROMOTED", "REFUSED"]
    summary: str
    checks: tuple[Check, ...] = ()


async def gates_of(connection: Connection, models: Sequence[Model]) -> dict[str, Gate]:
    """What the gate said, by model; one that it has not judged is left out."""
    unsaid = [model.id for model in models if not model.evaluation.get("gate")]
    decisions = await gate_decisions(connection, unsaid) if unsaid else {}
    found = {model.id: gate_of(model, decisions.get(model.id)) for model in models}
    return {id: gate for id, gate in found.items() if gate is not None}


def gate_of(model: Model, decision: Decision | None) -> Gate | None:
    """From the evaluation of the model, or else from the decision of the gate about it."""
    said = model.evaluation.get("gate")
    if said:
        return Gate(said["verdict"], said["summary"], tuple(_check(check) for check in said["checks"]))
    if decision is None:
        return None
    return Gate(cast(Literal["PROMOTED", "REFUSED"], decision.action), decision.reason)


def _check(said: dict[str, object]) -> Check:
    names = ("name", "passed", "value", "limit", "words")
    return Check(**{name: said.get(name) for name in names})  # type: ignore[arg-type]
