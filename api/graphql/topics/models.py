"""Models, and the decisions to promote them, refuse them or roll them back."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Context, Info
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.permissions import requires
from core.contract import check_id
from db import postgres
from db import serving as stored
from engine.cursors import read_cursor, write_cursor


@strawberry.type(description="A trained model: one bundle, which never changes.")
class Model(Node):
    """The result of one training."""

    id: strawberry.ID = strawberry.field(description="The version of the model, as `modelVersion` of lists shows it.")
    kind: str = strawberry.field(description="The kind of model, such as affinity.")
    created_at: datetime = strawberry.field(description="When its training ended.")
    evaluation: JSON = strawberry.field(
        description="Its metrics on orders from after its training data, and those of the baselines."
    )
    serving: bool = strawberry.field(description="Whether lists are made with this model now.")
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
    decision: "Decision | None" = strawberry.field(
        description="The newest decision about this model: whether it was promoted or refused, and why. Null before the"
        " first."
    )

    @classmethod
    def of(cls, record: stored.Model, serving: frozenset[str], decisions: Mapping[str, stored.Decision]) -> Self:
        """The public shape of a registered model."""
        decision = decisions.get(record.id)
        return cls(
            node_id=node_id_of("Model", record.id),
            id=strawberry.ID(record.id),
            kind=record.kind,
            created_at=record.created_at,
            evaluation=JSON(record.evaluation),
            serving=record.id in serving,
            horizon=None if record.horizon is None else timedelta(seconds=record.horizon),
            baseline=record.baseline,
            training=JSON(record.training),
            deleted_at=record.pruned_at,
            decision=None if decision is None else Decision.of(decision),
        )


@strawberry.enum(
    description="A decision about a model. PROMOTED: it serves from then on. REFUSED: the gate did not let it serve."
    " ROLLED_BACK: the model that served before it serves again."
)
class DecisionAction(StrEnum):
    """The kind of a decision."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    ROLLED_BACK = "ROLLED_BACK"


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
        serving = await serving_models(info.context)
        decisions = await stored.newest_decisions(info.context.reads, [record.id for record in records[:first]])
        edges = [
            Edge(
                cursor=write_cursor(gateway.signer, "models", [record.created_at.isoformat(), record.id]),
                node=Model.of(record, serving, decisions),
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


async def find_model(context: Context, id: str, source: postgres.Connection | None = None) -> Model | None:
    """The registered model with this id, or None. Reads from `source`, by default the caller's share."""
    source = source or context.reads
    record = await stored.model_by_id(source, id)
    if record is None:
        return None
    return Model.of(record, await serving_models(context), await stored.newest_decisions(source, [id]))


async def serving_models(context: Context) -> frozenset[str]:
    """The id of the model that serves, if one does."""
    row = await stored.current_serving(context.reads)
    return frozenset((row.bundle,) if row else ())
