"""What serves is decided here by people, against the gate only when they say so."""

from collections.abc import Awaitable
from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.jobs import named
from api.graphql.topics.models import Model, serving_models
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from db import serving as stored
from engine.models.promoting import CannotServe, GateRefused, promote_model, roll_back_model

Reason = Annotated[str, strawberry.argument(description="Why, for the record of decisions.")]


@strawberry.type(description="The model that serves now, or why nothing changed.")
class PromoteModelPayload:
    """What became of a promotion."""

    model: Model | None = strawberry.field(description="The model that serves now; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing changed; empty when it did.")


@strawberry.type(description="The model that serves now, or why nothing changed.")
class RollBackModelPayload:
    """What became of a rollback."""

    model: Model | None = strawberry.field(description="The model that serves now; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing changed; empty when it did.")


@strawberry.type
class ModelMutation:
    """What serves is changed here."""

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Let a model serve, in every process within 5 seconds.",
    )
    async def promote_model(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The model's version.")],
        reason: Reason,
        override_gate: Annotated[
            bool, strawberry.argument(description="Also when the gate refused it, or never judged it.")
        ] = False,
    ) -> PromoteModelPayload | None:
        """Promote a model by hand."""
        gateway, by = info.context.gateway, named(info.context.viewer)
        bundles = gateway.settings.stores.bundles
        promotion = promote_model(gateway.pool, gateway.redis, bundles, id, reason, by, override_gate=override_gate)
        model, errors = await _told(info, promotion)
        return PromoteModelPayload(model=model, user_errors=errors)

    @strawberry.mutation(
        permission_classes=[requires("models:write")],
        description="Let the model serve that did before this one was promoted, in every process within 5 seconds.",
    )
    async def roll_back_model(self, info: Info, reason: Reason) -> RollBackModelPayload | None:
        """Go back to the model before."""
        gateway, by = info.context.gateway, named(info.context.viewer)
        bundles = gateway.settings.stores.bundles
        model, errors = await _told(info, roll_back_model(gateway.pool, gateway.redis, bundles, reason, by))
        return RollBackModelPayload(model=model, user_errors=errors)


async def _told(info: Info, change: Awaitable[stored.Serving]) -> tuple[Model | None, list[UserError]]:
    """The model that serves after the change, or why there was none."""
    try:
        serving = await change
    except InvalidInput as error:
        return None, [UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))]
    record = await stored.model_by_id(info.context.gateway.pool, serving.bundle)
    assert record is not None
    return Model.of(record, await serving_models(info.context)), []


_CODES = {GateRefused: "GATE_REFUSED", CannotServe: "CANNOT_SERVE"}
