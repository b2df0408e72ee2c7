"""Models and decisions: what was trained, how good it is, what serves, and why."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Context, Info
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.paging import PageInfo, check_first, read_cursor, write_cursor
from api.graphql.types.permissions import requires
from core.contract import check_id
from db import serving as stored

First = Annotated[int, strawberry.argument(description="How many, 1 to 100.")]
After = Annotated[str | None, strawberry.argument(description="`endCursor` of the page before.")]


@strawberry.type(description="A trained model: one immutable bundle.")
class Model(Node):
    """What one training run made."""

    id: strawberry.ID = strawberry.field(description="Its version, as lists name it.")
    kind: str = strawberry.field(description="What it was trained for.")
    created_at: datetime = strawberry.field(description="When its training ended.")
    evaluation: JSON = strawberry.field(
        description="How good it is on orders after its training, beside its baselines."
    )
    serving: bool = strawberry.field(description="Whether lists are made with it now.")

    @classmethod
    def of(cls, record: stored.Model, serving: frozenset[str]) -> Self:
        """The public shape of a registered model."""
        return cls(
            node_id=node_id_of("Model", record.id),
            id=strawberry.ID(record.id),
            kind=record.kind,
            created_at=record.created_at,
            evaluation=JSON(record.evaluation),
            serving=record.id in serving,
        )


@strawberry.type(description="A model in a list.")
class ModelEdge:
    """A model and its place."""

    cursor: str = strawberry.field(description="Its place in the list.")
    node: Model = strawberry.field(description="The model.")


@strawberry.type(description="Models, newest first.")
class ModelConnection:
    """A page of models."""

    edges: list[ModelEdge] = strawberry.field(description="The models with their places.")
    nodes: list[Model] = strawberry.field(description="The models alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.enum(description="What was decided about a model.")
class DecisionAction(StrEnum):
    """What a decision did."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    ROLLED_BACK = "ROLLED_BACK"


@strawberry.type(description="Why a model serves, or does not.")
class Decision(Node):
    """One decision; it is never changed."""

    id: strawberry.ID = strawberry.field(description="Its number.")
    decided_at: datetime = strawberry.field(description="When.")
    action: DecisionAction = strawberry.field(description="What was decided.")
    model_id: strawberry.ID = strawberry.field(description="About which model.")
    previous_model_id: strawberry.ID | None = strawberry.field(description="What served until then.")
    reason: str = strawberry.field(description="Why, in words.")
    evidence: JSON = strawberry.field(description="The figures it rests on.")
    decided_by: str = strawberry.field(description="Who or what decided.")

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


@strawberry.type(description="A decision in a list.")
class DecisionEdge:
    """A decision and its place."""

    cursor: str = strawberry.field(description="Its place in the list.")
    node: Decision = strawberry.field(description="The decision.")


@strawberry.type(description="Decisions, newest first.")
class DecisionConnection:
    """A page of decisions."""

    edges: list[DecisionEdge] = strawberry.field(description="The decisions with their places.")
    nodes: list[Decision] = strawberry.field(description="The decisions alone.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.type
class ModelQuery:
    """The record of what was trained and decided."""

    @strawberry.field(permission_classes=[requires("models:read")], description="The models, newest first.")
    async def models(self, info: Info, first: First = 20, after: After = None) -> ModelConnection | None:
        """A page of the registered models."""
        gateway, first = info.context.gateway, check_first(first)
        before = None
        if after is not None:
            moment, id = read_cursor(gateway.signer, "models", after)
            before = (datetime.fromisoformat(moment), id)
        records = await stored.list_models(gateway.pool, first + 1, before)
        serving = await serving_models(info.context)
        edges = [
            ModelEdge(
                cursor=write_cursor(gateway.signer, "models", [record.created_at.isoformat(), record.id]),
                node=Model.of(record, serving),
            )
            for record in records[:first]
        ]
        page_info = PageInfo.around([edge.cursor for edge in edges], after, more=len(records) > first)
        return ModelConnection(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)

    @strawberry.field(
        permission_classes=[requires("models:read")], description="One model; null when there is none by that id."
    )
    async def model(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The model's version.")]
    ) -> Model | None:
        """The registered model by that id."""
        record = await stored.model_by_id(info.context.gateway.pool, check_id(id, "id"))
        return None if record is None else Model.of(record, await serving_models(info.context))

    @strawberry.field(permission_classes=[requires("models:read")], description="The decisions, newest first.")
    async def decisions(self, info: Info, first: First = 20, after: After = None) -> DecisionConnection | None:
        """A page of what was decided."""
        gateway, first = info.context.gateway, check_first(first)
        before = None if after is None else int(read_cursor(gateway.signer, "decisions", after))
        records = await stored.list_decisions(gateway.pool, first + 1, before)
        edges = [
            DecisionEdge(cursor=write_cursor(gateway.signer, "decisions", record.id), node=Decision.of(record))
            for record in records[:first]
        ]
        page_info = PageInfo.around([edge.cursor for edge in edges], after, more=len(records) > first)
        return DecisionConnection(edges=edges, nodes=[edge.node for edge in edges], page_info=page_info)


async def serving_models(context: Context) -> frozenset[str]:
    """The id of the model that serves, if one does."""
    row = await stored.current_serving(context.gateway.pool)
    return frozenset((row.bundle,) if row else ())
