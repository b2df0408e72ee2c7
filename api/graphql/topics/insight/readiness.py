"""`readiness`: what can be learned from the stored events now, what is missing, and what serves meanwhile."""

from datetime import datetime
from typing import Self

import strawberry

from api.graphql.context import Info
from api.graphql.types.permissions import requires
from engine.readiness import readiness as engine
from engine.readiness.readiness import Status, Subject

strawberry.enum(
    Subject,
    name="ReadinessSubject",
    description="What a model answers. RECOMMENDATIONS: `recommendations`. SIMILAR: `similar`. BOUGHT_TOGETHER:"
    " `boughtTogether`. FORECASTS: `churn` and `nextPurchase`. SEQUENCE: the sequence net, which improves"
    " `recommendations` where people rarely buy the same again.",
)
strawberry.enum(
    Status,
    name="ReadinessStatus",
    description="How far a model is. TRAINED: it serves. READY: there is enough to train it. NOT_ENOUGH:"
    " data is missing.",
)


@strawberry.type(description="One thing that a model needs.")
class Requirement:
    """A requirement."""

    have: int = strawberry.field(description="How much of it is stored.")
    need: int = strawberry.field(description="How much is needed.")
    met: bool = strawberry.field(description="Whether there is enough.")
    words: str = strawberry.field(description="What is counted, in English.")


@strawberry.type(description="How far a model is, and what answers in its place.")
class ModelReadiness:
    """The readiness of a model."""

    subject: Subject = strawberry.field(description="What the model answers.")
    status: Status = strawberry.field(description="How far it is.")
    summary: str = strawberry.field(description="The same in English: what is missing and how much of it.")
    requirements: list[Requirement] = strawberry.field(description="What it needs.")
    fallback: str = strawberry.field(description="What answers while it does not serve, in English.")
    model_version: strawberry.ID | None = strawberry.field(description="The model that serves it; null for none.")

    @classmethod
    def of(cls, found: engine.ModelReadiness) -> Self:
        """The public shape."""
        return cls(
            subject=found.subject,
            status=found.status,
            summary=found.summary,
            requirements=[
                Requirement(have=each.have, need=each.need, met=each.met, words=each.words)
                for each in found.requirements
            ],
            fallback=found.fallback,
            model_version=None if found.model is None else strawberry.ID(found.model),
        )


@strawberry.type(description="How far every model is.")
class Readiness:
    """The readiness of all models."""

    counted_at: datetime = strawberry.field(description="When the purchases were counted: at most a minute ago.")
    purchases: int = strawberry.field(description="The stored purchases that were counted, lines of orders.")
    complete: bool = strawberry.field(
        description="Whether these are all; if not, the counts are those of the first 300,000, and more is there."
    )
    models: list[ModelReadiness] = strawberry.field(description="How far each model is.")


@strawberry.type
class ReadinessQuery:
    """The query of readiness."""

    @strawberry.field(
        permission_classes=[requires("models:read")],
        description="What can be trained from the stored events, which data is missing and how much of it, and what"
        " answers meanwhile. The limits are those of the training and its gate.",
    )
    async def readiness(self, info: Info) -> Readiness | None:
        """The readiness of all models."""
        found = await info.context.gateway.readiness.read()
        models = [ModelReadiness.of(each) for each in found.models]
        return Readiness(counted_at=found.counted_at, purchases=found.lines, complete=found.complete, models=models)
