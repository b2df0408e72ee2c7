"""`modelDiff`: what made two models, and their metrics side by side, as `penchant models diff` shows them."""

import asyncio
from typing import Annotated, Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.topics.models import Model, find_model
from api.graphql.types.permissions import requires
from core.contract import check_id
from engine.reports.differences import differences


@strawberry.type(description="A setting, a figure of the data or a version of the code that made two models.")
class MadeDifference:
    """A value of each model."""

    part: str = strawberry.field(description="The part of `Model.training`, such as settings or data.")
    name: str = strawberry.field(description="The name within the part, with dots between levels; empty for the part.")
    first: JSON | None = strawberry.field(description="The value of the first model; null where it has none.")
    second: JSON | None = strawberry.field(description="The value of the second model; null where it has none.")
    same: bool = strawberry.field(description="Whether both are equal.")


@strawberry.type(description="A metric with its 95 % interval.")
class MetricScore:
    """A value with its bounds."""

    value: float = strawberry.field(description="The value.")
    low: float = strawberry.field(description="The lower end of the interval.")
    high: float = strawberry.field(description="The upper end of the interval.")


@strawberry.type(description="A metric of a method that both models were evaluated with, or of the models themselves.")
class MetricDifference:
    """A metric of each model's evaluation."""

    method: str = strawberry.field(description="The method, such as popularity; of the models themselves, both names.")
    metric: str = strawberry.field(description="The metric, such as ndcg_at_10.")
    first: MetricScore = strawberry.field(description="In the evaluation of the first model.")
    second: MetricScore = strawberry.field(description="In the evaluation of the second model.")
    difference: float = strawberry.field(description="The second value minus the first.")
    overlap: bool = strawberry.field(
        description="Whether the intervals share a value. Those that do not overlap differ beyond chance; those that do"
        " may differ, too."
    )


@strawberry.type(description="Two models side by side.")
class ModelDiff:
    """What made two models and how good they were."""

    first: Model = strawberry.field(description="The first model.")
    second: Model = strawberry.field(description="The second model.")
    made: list[MadeDifference] = strawberry.field(description="What made them, equal values too.")
    metrics: list[MetricDifference] = strawberry.field(description="The metrics of methods that both evaluations have.")
    note: str | None = strawberry.field(
        description="Why the metrics cannot be compared, in English: they were measured on different orders. Null where"
        " they can be."
    )

    @classmethod
    def of(cls, first: Model, second: Model) -> Self:
        """The public shape of what differs."""
        found = differences(first.record, second.record)
        return cls(
            first=first,
            second=second,
            made=[_made(part, row) for part, rows in found["parts"].items() for row in rows],
            metrics=[_metric(row) for row in found["metrics"]],
            note=found["note"],
        )


def _made(part: str, row: dict[str, Any]) -> MadeDifference:
    one, other = (None if value is None else JSON(value) for value in row["values"])
    return MadeDifference(part=part, name=row["name"], first=one, second=other, same=row["same"])


def _metric(row: dict[str, Any]) -> MetricDifference:
    one, other = (MetricScore(**{end: each[end] for end in ("value", "low", "high")}) for each in row["values"])
    named = {name: row[name] for name in ("method", "metric", "difference", "overlap")}
    return MetricDifference(first=one, second=other, **named)


@strawberry.type
class ModelDiffQuery:
    """The query of differences."""

    @strawberry.field(
        permission_classes=[requires("models:read")],
        description="Two models side by side: the settings, data and code that made them, and their metrics. Null when"
        " there is no such model.",
    )
    async def model_diff(
        self,
        info: Info,
        first_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the first model.")],
        second_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the second model.")],
    ) -> ModelDiff | None:
        """The difference of two registered models."""
        ids = check_id(first_id, "firstId"), check_id(second_id, "secondId")
        first, second = await asyncio.gather(*(find_model(info.context, id) for id in ids))
        return None if first is None or second is None else ModelDiff.of(first, second)
