"""Promotions and rollbacks by people. They override the gate only on request."""

from collections.abc import Awaitable
from typing import Annotated

import strawberry

from api.graphql.context import Info
from api.graphql.topics.models import Model, find_model
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core.errors import InvalidInput
from db import serving as stored
from engine.models.promoting import CannotServe, GateRefused, promote_model, roll_back_model

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
    async def roll_back_model(self, info: Info, reason: Reason) -> RollBackModelPayload | None:
        """Roll back to the previous model."""
        gateway, by = info.context.gateway, recorded_name(info.context.viewer)
        bundles = gateway.settings.stores.bundles
        rollback = roll_back_model(gateway.shares.bulk, gateway.redis, bundles, reason, by)
        model, errors = await _serving_after(info, rollback)
        return RollBackModelPayload(model=model, user_errors=errors)


async def _serving_after(info: Info, change: Awaitable[stored.Serving]) -> tuple[Model | None, list[UserError]]:
    """The model that serves after the change, or the reasons why nothing changed."""
    try:
        serving = await change
    except InvalidInput as error:
        return None, [UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))]
    return await find_model(info.context, serving.bundle, info.context.gateway.shares.bulk), []


_CODES = {GateRefused: "GATE_REFUSED", CannotServe: "CANNOT_SERVE"}
