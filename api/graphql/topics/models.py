"""Models, the decisions to promote them, refuse them or roll them back, and the mutations that do.

People override the gate only on request.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Context, Info
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core.contract import check_id
from core.errors import InvalidInput
from db import serving as stored
from engine.cursors import read_cursor, write_cursor
from engine.models.promoting import CannotServe, GateRefused, promote_model, roll_back_model
from engine.reports import gates


@strawberry.enum(description="What the gate said of a model. PROMOTED: it let the model serve. REFUSED: it did not.")
class GateVerdict(StrEnum):
    """The verdict of the gate."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"


@strawberry.type(description="One condition of the gate.")
class GateCheck:
    """A check of a model."""

    name: str = strawberry.field(description="The name of the check, such as people.")
    passed: bool = strawberry.field(description="Whether the model passed it.")
    value: float | None = strawberry.field(description="The figure that was checked; null where there is none.")
    limit: float | None = strawberry.field(description="What the figure was compared with; null where there is none.")
    words: str = strawberry.field(description="The check as a sentence for people.")


@strawberry.type(description="What the gate said of a model when its training ended. It never changes.")
class Gate:
    """The verdict and the checks behind it."""

    verdict: GateVerdict = strawberry.field(description="Whether the gate let the model serve.")
    summary: str = strawberry.field(description="Why, as a sentence for people.")
    checks: list[GateCheck] = strawberry.field(
        description="Every check, in the order of the gate; empty for models of earlier versions."
    )

    @classmethod
    def of(cls, gate: gates.Gate) -> Self:
        """The public shape of what the gate said."""
        return cls(
            verdict=GateVerdict(gate.verdict),
            summary=gate.summary,
            checks=[GateCheck(**asdict(check)) for check in gate.checks],
        )


@strawberry.type(description="A trained model: one bundle, which never changes.")
class Model(Node):
    """The result of one training."""

    record: strawberry.Private[stored.Model]

    id: strawberry.ID = strawberry.field(description="The version of the model, as `modelVersion` of lists shows it.")
    kind: str = strawberry.field(description="The kind of model, such as affinity.")
    created_at: datetime = strawberry.field(description="When its training ended.")
    evaluation: JSON = strawberry.field(
        description="Its metrics on orders from after its training data, and those of the baselines."
    )
    serving: bool = strawberry.field(description="Whether this model serves now: lists are made with it, or forecasts.")
    horizon: timedelta | None = strawberry.field(
        description="The time within which `probability` of a list expects the purchase; null for a model without"
        " calibrated probabilities."
    )
    baseline: str | None = strawberry.field(
        description="The simple baseline that this model is, such as personal_frequency: it serves in place of a"
        " refused model. Null for a trained model."
    )
    training: JSON = strawberry.field(
        description="Where the model comes from: seed, settings, code version, and the digest and counts of its data."
        " Empty for models of earlier versions."
    )
    deleted_at: datetime | None = strawberry.field(
        description="When its files were deleted, because it was old; it cannot be promoted any more. Null while they"
        " are kept."
    )
    refreshed_from: strawberry.ID | None = strawberry.field(
        description="The model whose weights and evaluation these are, with tables as of a later moment; null for a"
        " model with the tables of its training."
    )
    decision: "Decision | None" = strawberry.field(
        description="The newest decision about this model: whether it was promoted or refused, and why. Null before the"
        " first."
    )

    @classmethod
    def of(cls, record: stored.Model, *, serving: bool, decision: stored.Decision | None) -> Self:
        """The public shape of a registered model, with the newest decision about it."""
        return cls(
            record=record,
            node_id=node_id_of("Model", record.id),
            id=strawberry.ID(record.id),
            kind=record.kind,
            created_at=record.created_at,
            evaluation=JSON(record.evaluation),
            serving=serving,
            horizon=None if record.horizon is None else timedelta(seconds=record.horizon),
            baseline=record.baseline,
            training=JSON(record.training),
            deleted_at=record.pruned_at,
            refreshed_from=None if record.refreshed_from is None else strawberry.ID(record.refreshed_from),
            decision=None if decision is None else Decision.of(decision),
        )

    @strawberry.field(
        description="What the gate said of this model when its training ended; null if it has not judged it. A person"
        " may have decided otherwise since: see `decision`."
    )
    async def gate(self, info: Info) -> Gate | None:
        """From the evaluation, or for earlier versions from the gate's decision."""
        said = None if self.record.evaluation.get("gate") else await info.context.gate_decisions.get(self.record.id)
        gate = gates.gate_of(self.record, said)
        return None if gate is None else Gate.of(gate)


@strawberry.enum(
    description="A decision about a model. PROMOTED: it serves from then on. REFUSED: the gate did not let it serve."
    " ROLLED_BACK: the model that served before it serves again. REFRESHED: what serves got tables as of"
    " now; its weights are the same."
)
class DecisionAction(StrEnum):
    """The kind of a decision."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    ROLLED_BACK = "ROLLED_BACK"
    REFRESHED = "REFRESHED"


@strawberry.type(description="A decision to promote a model, to refuse it, or to roll back to it.")
class Decision(Node):
    """One decision. It never changes."""

    id: strawberry.ID = strawberry.field(description="The id of the decision.")
    decided_at: datetime = strawberry.field(description="When it was decided.")
    action: DecisionAction = strawberry.field(description="What was decided.")
    model_id: strawberry.ID = strawberry.field(description="The model that the decision is about.")
    previous_model_id: strawberry.ID | None = strawberry.field(
        description="The model that served until then; null when none did."
    )
    reason: str = strawberry.field(description="Why, as a sentence for people.")
    evidence: JSON = strawberry.field(description="The figures that the decision is based on.")
    decided_by: str = strawberry.field(description="Who decided: the gate, or the client and the person if any.")

    @classmethod
    def of(cls, record: stored.Decision) -> Self:
        """The public shape of a decision."""
        return cls(
            node_id=node_id_of("Decision", str(record.id)),
            id=strawberry.ID(str(record.id)),
            decided_at=record.decided_at,
            action=DecisionAction(record.action),
            model_id=strawberry.ID(record.bundle),
            previous_model_id=None if record.previous is None else strawberry.ID(record.previous),
            reason=record.reason,
            evidence=JSON(record.evidence),
            decided_by=record.decided_by,
        )


@strawberry.type(description="A page of models.")
class ModelConnection(Connection[Model]):
    """A page of models, and how many there are."""

    @strawberry.field(description="How many models there are, on all pages together.")
    async def total_count(self, info: Info) -> int | None:
        """Counted where it is asked for."""
        return await stored.count_models(info.context.reads)


@strawberry.type(description="A page of decisions.")
class DecisionConnection(Connection[Decision]):
    """A page of decisions, and how many there are."""

    @strawberry.field(description="How many decisions there are, on all pages together.")
    async def total_count(self, info: Info) -> int | None:
        """Counted where it is asked for."""
        return await stored.count_decisions(info.context.reads)


@strawberry.type
class ModelQuery:
    """Queries of models and decisions."""

    @strawberry.field(permission_classes=[requires("models:read")], description="Models, newest first.")
    async def models(self, info: Info, first: First = 20, after: After = None) -> ModelConnection | None:
        """A page of the registered models."""
        gateway, first = info.context.gateway, check_first(first)
        before = None
        if after is not None:
            moment, id = read_cursor(gateway.signer, "models", after)
            before = (datetime.fromisoformat(moment), id)
        records = await stored.list_models(info.context.reads, first + 1, before)
        shown = [record.id for record in records[:first]]
        serving = await stored.serving_rows(info.context.reads, shown)
        decisions = await stored.newest_decisions(info.context.reads, shown)
        edges = [
            Edge(
                cursor=write_cursor(gateway.signer, "models", [record.created_at.isoformat(), record.id]),
                node=Model.of(record, serving=record.id in serving, decision=decisions.get(record.id)),
            )
            for record in records[:first]
        ]
        return ModelConnection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[requires("models:read")], description="One model; null when no model has this id."
    )
    async def model(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the model.")]
    ) -> Model | None:
        """The registered model with this id."""
        return await find_model(info.context, check_id(id, "id"))

    @strawberry.field(permission_classes=[requires("models:read")], description="Decisions about models, newest first.")
    async def decisions(self, info: Info, first: First = 20, after: After = None) -> DecisionConnection | None:
        """A page of decisions."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "decisions", after))
        records = await stored.list_decisions(info.context.reads, first + 1, before)
        edges = [
            Edge(cursor=write_cursor(gateway.signer, "decisions", record.id), node=Decision.of(record))
            for record in records[:first]
        ]
        return DecisionConnection.of(edges, after, more=len(records) > first)


async def find_model(context: Context, id: str) -> Model | None:
    """The registered model with this id, or None."""
    record, serving, decision = await asyncio.gather(
        context.models.get(id), context.serving.get(id), context.model_decisions.get(id)
    )
    return None if record is None else Model.of(record, serving=serving is not None, decision=decision)


Reason = Annotated[str, strawberry.argument(description="Why, for the record of decisions: 1 to 500 characters.")]


@strawberry.type(description="The outcome of `promoteModel`.")
class PromoteModelPayload:
    """The model that serves now, or the reason why nothing changed."""

    model: Model | None = strawberry.field(description="The model that serves now; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(
        description="Why nothing changed, such as GATE_REFUSED or CANNOT_SERVE; empty when the model serves."
    )


@strawberry.type(description="The outcome of `rollBackModel`.")
class RollBackModelPayload:
    """The model that serves now, or the reason why nothing changed."""

    model: Model | None = strawberry.field(description="The model that serves now; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(
        description="Why nothing changed, such as GATE_REFUSED or CANNOT_SERVE; empty when the model serves."
    )


@strawberry.type
class ModelMutation:
    """Mutations of what serves."""

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Promote a model: it serves in every process within 5 seconds.",
    )
    async def promote_model(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of the model.")],
        reason: Reason,
        override_gate: Annotated[
            bool, strawberry.argument(description="True: promote it even if the gate refused it or never evaluated it.")
        ] = False,
    ) -> PromoteModelPayload | None:
        """Promote a model on request of a person."""
        gateway, by = info.context.gateway, recorded_name(info.context.viewer)
        pool, bundles = gateway.shares.bulk, gateway.settings.stores.bundles
        promotion = promote_model(pool, gateway.redis, bundles, id, reason, by, override_gate=override_gate)
        model, errors = await _serving_after(info, promotion)
        return PromoteModelPayload(model=model, user_errors=errors)

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Roll back: the model that served before the current one was promoted serves again, in every"
        " process within 5 seconds.",
    )
    async def roll_back_model(
        self,
        info: Info,
        reason: Reason,
        kind: Annotated[
            str,
            strawberry.argument(description="The kind of model: affinity, which makes lists, or forecast."),
        ] = "affinity",
    ) -> RollBackModelPayload | None:
        """Roll back to the previous model."""
        gateway, by = info.context.gateway, recorded_name(info.context.viewer)
        bundles = gateway.settings.stores.bundles
        rollback = roll_back_model(gateway.shares.bulk, gateway.redis, bundles, reason, by, kind)
        model, errors = await _serving_after(info, rollback)
        return RollBackModelPayload(model=model, user_errors=errors)


async def _serving_after(info: Info, change: Awaitable[stored.Serving]) -> tuple[Model | None, list[UserError]]:
    """The model that serves after the change, or the reasons why nothing changed."""
    try:
        serving = await change
    except InvalidInput as error:
        return None, [UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))]
    bulk = info.context.gateway.shares.bulk
    model = await stored.model_by_id(bulk, serving.bundle)
    decision = (await stored.newest_decisions(bulk, [serving.bundle])).get(serving.bundle)
    return None if model is None else Model.of(model, serving=True, decision=decision), []


_CODES = {GateRefused: "GATE_REFUSED", CannotServe: "CANNOT_SERVE"}
