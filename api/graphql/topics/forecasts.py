"""Forecasts of a person: whether they may leave, when they order next, and what."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import strawberry

from api.graphql.context import Info
from api.graphql.topics.insight.affinities import Affinity, affinities_at
from api.graphql.topics.recommendations import RecommendationConnection, recommend
from api.graphql.types.connections import After, First
from api.graphql.types.permissions import requires, requires_or_oneself
from core import clock
from core.contract import Person
from engine.explaining.affinities import Dimension
from engine.forecasting.people import ChurnBand, check_within, churn, next_purchase
from engine.recommending.people import Degradation
from ml.hazard.model import ForecastModel
from ml.state import State

strawberry.enum(
    ChurnBand,
    description="How likely a person leaves. LOW: the probability is below 1/3. MEDIUM: below 2/3. HIGH: 2/3 and more.",
)


@strawberry.enum(
    description="A side of a person. RECENCY: how long ago the last order was. FREQUENCY: how many orders, and since"
    " when. RHYTHM: the time between orders, and how late the next one is. TREND: more or fewer orders than before."
    " SPEND: the value of the orders. BREADTH: how many different items. SEASON: the time of the year."
)
class DriverSide(StrEnum):
    """The groups of features that a forecast is explained by."""

    RECENCY = "RECENCY"
    FREQUENCY = "FREQUENCY"
    RHYTHM = "RHYTHM"
    TREND = "TREND"
    SPEND = "SPEND"
    BREADTH = "BREADTH"
    SEASON = "SEASON"


@strawberry.type(description="What one side of a person adds to a forecast.")
class ChurnDriver:
    """A side of a person with its contribution."""

    side: DriverSide = strawberry.field(description="The side.")
    contribution: float = strawberry.field(
        description="What it adds to the log odds of leaving, compared with the shop's typical customer: above 0 it"
        " speaks for leaving, below 0 for staying. The contributions of all sides add up to the whole difference"
        " (Shapley values)."
    )
    text: str = strawberry.field(description="The facts behind it, as an English sentence for people.")


@strawberry.type(description="Whether a customer leaves: how probable it is that no order follows within some time.")
class ChurnForecast:
    """The probability of no order, and why."""

    probability: float | None = strawberry.field(
        description="The probability that the customer does not order within the time; null when `degraded` says"
        " NO_MODEL."
    )
    band: ChurnBand | None = strawberry.field(description="The probability in a word; null with it.")
    drivers: list[ChurnDriver] = strawberry.field(
        description="Why, the strongest first; empty without a probability. All sides are listed."
    )
    as_of: datetime = strawberry.field(description="The moment from which the time counts.")
    model_version: strawberry.ID | None = strawberry.field(
        description="The id of the model that made the forecast; null without a model."
    )
    degraded: list[Degradation] = strawberry.field(
        description="Why the forecast is missing or less fresh than usual; empty when it is not."
    )


@strawberry.type(description="When a customer orders next, and what.")
class PurchaseForecast:
    """The probability of an order, when it is expected, and of what."""

    probability: float | None = strawberry.field(
        description="The probability that the customer orders within the time; null when `degraded` says NO_MODEL."
    )
    expected_date: datetime | None = strawberry.field(
        description="When to expect the order, if it comes within the time: the mean over all its days. Null with the"
        " probability."
    )
    as_of: datetime = strawberry.field(description="The moment from which the time counts.")
    model_version: strawberry.ID | None = strawberry.field(
        description="The id of the model that made the forecast; null without a model. The list of `items` has its own."
    )
    degraded: list[Degradation] = strawberry.field(
        description="Why the forecast is missing or less fresh than usual; empty when it is not."
    )
    person: strawberry.Private[Person]

    @strawberry.field(
        permission_classes=[requires_or_oneself("profiles:read")],
        description="The categories that the next order most likely has, most likely first: `User.affinities` as of the"
        " expected date, when what rests now may be due again. Without a forecast, as of now.",
    )
    async def categories(self, info: Info, first: First = 10) -> list[Affinity] | None:
        """The category affinities at the expected date."""
        return await affinities_at(info.context, self.person, Dimension.CATEGORY, first, self.expected_date)

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="What the next order most likely holds, best first. Nobody is shown the list: it has no"
        " impression.",
    )
    async def items(self, info: Info, first: First = 20, after: After = None) -> RecommendationConnection | None:
        """A page of the person's list, as a preview."""
        return await recommend(
            info.context, self.person, placement="home", first=first, after=after, where=None, filter=None,
            exclude=None, among=None, market=None, preview=True,
        )  # fmt: skip


class _Asked(NamedTuple):
    """What a forecast is made from, and what every one says."""

    days: float
    now: datetime
    model: ForecastModel | None
    state: State
    degraded: list[Degradation]

    @property
    def said(self) -> dict[str, Any]:
        """The fields of both forecasts."""
        version = None if self.model is None else strawberry.ID(self.model.id)
        return {"as_of": self.now, "model_version": version, "degraded": self.degraded}


async def _asked(root: Any, info: Info, within: timedelta) -> _Asked | None:
    """None for a person who never bought."""
    days, now, model = check_within(within), clock.now(), info.context.gateway.forecast.current
    state, degraded, _ = await info.context.people.state(root.person)
    degraded = degraded if model is not None else [*degraded, Degradation.NO_MODEL]
    return _Asked(days, now, model, state, degraded) if state.orders else None


async def churn_of(
    root: Any,
    info: Info,
    within: Annotated[timedelta, strawberry.argument(description="How far to look ahead: P1D to P365D.")] = timedelta(
        days=90
    ),
) -> ChurnForecast | None:
    """The forecast as of now, from the model that serves."""
    asked = await _asked(root, info, within)
    if asked is None:
        return None
    if asked.model is None:
        return ChurnForecast(probability=None, band=None, drivers=[], **asked.said)
    found = churn(asked.model, asked.state, asked.now, asked.days)
    drivers = [
        ChurnDriver(side=DriverSide(one.side), contribution=one.contribution, text=one.words) for one in found.drivers
    ]
    return ChurnForecast(probability=found.probability, band=found.band, drivers=drivers, **asked.said)


async def next_purchase_of(
    root: Any,
    info: Info,
    within: Annotated[timedelta, strawberry.argument(description="How far to look ahead: P1D to P365D.")] = timedelta(
        days=30
    ),
) -> PurchaseForecast | None:
    """The forecast as of now, from the model that serves."""
    asked = await _asked(root, info, within)
    if asked is None:
        return None
    found = None if asked.model is None else next_purchase(asked.model, asked.state, asked.now, asked.days)
    return PurchaseForecast(
        probability=None if found is None else found.probability,
        expected_date=None if found is None else found.expected,
        person=root.person,
        **asked.said,
    )


CHURN = strawberry.field(
    name="churn",
    resolver=churn_of,
    permission_classes=[requires_or_oneself("profiles:read")],
    description="Whether this person may leave; null when the person never bought.",
)
NEXT_PURCHASE = strawberry.field(
    name="nextPurchase",
    resolver=next_purchase_of,
    permission_classes=[requires_or_oneself("profiles:read")],
    description="When this person orders next; null when the person never bought.",
)
"""Fields of User."""
