"""People: users and guests, with their traits, RFM figures, lists and histories."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self, cast

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.planning.pure import pure
from api.graphql.topics.events import Event, history
from api.graphql.topics.forecasts import CHURN, NEXT_PURCHASE, ChurnForecast, PurchaseForecast
from api.graphql.topics.insight.affinities import AFFINITIES, Affinity
from api.graphql.topics.insight.hidden import HIDDEN, PAUSED, HiddenChoices
from api.graphql.topics.insight.interests import INTERESTS, Interest
from api.graphql.topics.insight.why import WHY, WhyShown
from api.graphql.topics.lists.kinds import ListArgument
from api.graphql.topics.pages import PAGE, PageSlot
from api.graphql.topics.recommendations import RecommendationConnection, RecommendationContext, recommend
from api.graphql.types.as_read import as_read
from api.graphql.types.batches import BatchPayload
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import Connection, PlacedFirst
from api.graphql.types.filters import FilterBy
from api.graphql.types.keys import KEYS
from api.graphql.types.nodes import NODE_ID, Node, node_id_of
from api.graphql.types.permissions import requires, requires_or_oneself
from core import clock
from core.contract import Person, check_id, check_user_id
from core.errors import NotFound
from engine.catalogue.upserts import store_users
from engine.viewer import Viewer
from ml.rfm import rfm, score

Private = requires_or_oneself("profiles:read")


@strawberry.type(
    description="Recency, frequency and monetary value of a customer. Each has a score from 1 (worst) to 5 (best):"
    " the fifth of the shop's customers that it falls in."
)
class Rfm:
    """Recency, frequency and monetary value."""

    recency: float = strawberry.field(description="Days since the last order, with fractions.")
    frequency: int = strawberry.field(description="The number of orders ever.")
    monetary: Decimal = strawberry.field(
        description="The money spent ever on what was not returned, in the shop's own currency: never negative,"
        " and never beyond 90,071,992,547,409.91."
    )
    recency_score: int = strawberry.field(description="5 for the fifth of customers with the latest last order.")
    frequency_score: int = strawberry.field(description="5 for the fifth of customers with the most orders.")
    monetary_score: int = strawberry.field(description="5 for the fifth of customers that spent most.")
    segment: str = strawberry.field(
        description="The segment that follows from the scores: CHAMPION, LOYAL, PROMISING, NEW, NEEDS_ATTENTION,"
        " AT_RISK, CANNOT_LOSE or HIBERNATING."
    )


@pure
def node_id_of_user(self: "User") -> strawberry.ID:
    """The person's id among all nodes."""
    return node_id_of("User", f"{self.person.kind}:{self.person.id}")


@strawberry.type(description="A person: a user who has an account at the shop, or a guest.", directives=KEYS)
class User(Node):
    """A user or a guest, known or not."""

    node_id: strawberry.ID = strawberry.field(resolver=node_id_of_user, description=NODE_ID)
    id: strawberry.ID = strawberry.field(description="The shop's own id of the user, or the anonymous id of the guest.")
    anonymous: bool = strawberry.field(description="True for a guest, false for a user.")
    person: strawberry.Private[Person]

    @classmethod
    def of(cls, person: Person) -> Self:
        """The public shape of a person, known or not."""
        return cls(id=strawberry.ID(person.id), anonymous=person.kind == "guest", person=person)

    @strawberry.field(description="Whether the shop uploaded traits of this person or reported an event of theirs.")
    async def known(self, info: Info) -> bool:
        """Whether anything is stored about this person."""
        return await info.context.people.known(self.person)

    @strawberry.field(
        permission_classes=[Private],
        description="The traits that the shop uploaded; null for a guest or a user without an upload.",
    )
    async def traits(self, info: Info) -> JSON | None:
        """The uploaded traits."""
        if self.person.kind == "guest":
            return None
        user = await info.context.described.get(self.person.id)
        return None if user is None else JSON(user.traits)

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="The items that this person most likely wants next, best first. Only available items are listed."
        " What is in the person's cart is left out: added in the last 7 days, and neither removed nor bought since, by"
        " their last 32 events. Lists of one operation with different placements do not repeat items on their first"
        " pages, unless there is nothing else: the first computed has them.",
    )
    async def recommendations(
        self,
        info: Info,
        placement: Annotated[
            str,
            strawberry.argument(
                description="The place where the list is shown: any name of 1 to 64 characters. The list follows the"
                " settings that the shop has saved for it, see `Query.placement`."
            ),
        ] = "home",
        first: PlacedFirst = None,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="The `endCursor` of the previous page, at most ten minutes old; null for the first page."
            ),
        ] = None,
        context: Annotated[
            RecommendationContext | None, strawberry.argument(description="What the person is looking at now.")
        ] = None,
        filter: FilterBy = None,
        exclude: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description="The ids of items to leave out, at most 400.", directives=[AtMost(elements=400)]
            ),
        ] = None,
        among: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description="Rank exactly the items with these ids, at most 500, as for a category page: none is left"
                " out for what the person bought, and those without a score are last, in this order. Unknown,"
                " unavailable and disliked items are dropped. Null for all items."
            ),
        ] = None,
        market: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description="The market the person buys in: only items available there are listed, with its offers;"
                " null for all markets."
            ),
        ] = None,
        preview: Annotated[
            bool,
            strawberry.argument(
                description="True when no person will see the list: it gets no `impressionId`, and nothing is recorded."
            ),
        ] = False,
        list: ListArgument = None,
    ) -> RecommendationConnection | None:
        """A page of this person's list."""
        return await recommend(
            info.context, self.person, placement=placement, first=first, after=after, where=context, filter=filter,
            exclude=exclude, among=among, market=market, preview=preview,
            placed=info.context.gateway.placements.find(placement), kind=list,
        )  # fmt: skip

    page: list[PageSlot] | None = PAGE
    next_purchase: PurchaseForecast | None = NEXT_PURCHASE
    churn: ChurnForecast | None = CHURN

    @strawberry.field(
        permission_classes=[Private],
        description="Recency, frequency and monetary value; null when the person never bought.",
    )
    async def rfm(self, info: Info) -> Rfm | None:
        """The figures as of now, scored by the quintiles in the bundle that serves."""
        state = (await info.context.people.state(self.person)).state
        value = rfm(state, int(clock.now().timestamp()))
        if value is None:
            return None
        bundle = info.context.recommender.bundle
        scores = score(value, bundle.rfm_edges if bundle else None)
        return Rfm(
            recency=value.recency,
            frequency=value.frequency,
            monetary=Decimal(value.monetary).scaleb(-2),
            recency_score=scores.recency,
            frequency_score=scores.frequency,
            monetary_score=scores.monetary,
            segment=scores.segment,
        )

    affinities: list[Affinity] | None = AFFINITIES

    interests: list[Interest] | None = INTERESTS
    why_do_i_see_this: WhyShown | None = WHY
    hidden: HiddenChoices | None = HIDDEN
    paused: bool | None = PAUSED

    history: Connection[Event] | None = strawberry.field(
        resolver=history, permission_classes=[Private], description="The events of this person, newest first."
    )


@strawberry.type
class PeopleQuery:
    """Queries of people."""

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="The person whose token this is; null for a client's own token.",
    )
    def me(self, info: Info) -> User | None:
        """The person who asks."""
        person = info.context.viewer.person
        return None if person is None else User.of(person)

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="A user. A client's own token gets one for every id: see `known`. A person's own token gets"
        " NOT_FOUND for everyone else.",
    )
    def user(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the user.")],
    ) -> User | None:
        """The user with this id."""
        return visible_person(info.context.viewer, Person("user", check_user_id(id, "id")))

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="A guest, by the anonymous id in the shop's events. The same rules hold as for `user`.",
    )
    def visitor(
        self,
        info: Info,
        anonymous_id: Annotated[strawberry.ID, strawberry.argument(description="The anonymous id of the guest.")],
    ) -> User | None:
        """The guest with this id."""
        return visible_person(info.context.viewer, Person("guest", check_id(anonymous_id, "anonymousId")))


def visible_person(viewer: Viewer, person: Person) -> User:
    """The person, known or not; raises NotFound when the token is another person's."""
    if viewer.person is not None and viewer.person != person:
        raise NotFound()
    return User.of(person)


@as_read
@strawberry.input(description="A patch of a user: a field left out keeps its value, null clears it.")
class UserInput:
    """A patch of a user."""

    id: strawberry.ID = strawberry.field(description="The shop's own id of the user.")
    updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="When the shop changed the user; left out: now. A patch older than the stored one is a CONFLICT.",
    )
    traits: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="Any traits of the user: a JSON object of at most 16 kB. A key left out keeps its value, a key that"
        " is null is cleared; null clears all.",
    )


@strawberry.type(description="The outcomes of `upsertUsers`.")
class UpsertUsersPayload(BatchPayload):
    """One outcome per user."""


@strawberry.type
class PeopleMutation:
    """Mutations of people."""

    @strawberry.mutation(
        permission_classes=[requires("profiles:write")],
        description="Add or change users, at most 500 per call.",
    )
    async def upsert_users(
        self,
        info: Info,
        users: Annotated[list[UserInput], strawberry.argument(description="The patches, stored in this order.")],
    ) -> UpsertUsersPayload | None:
        """Check and store the patches of users, one by one."""
        patches = cast(list[Mapping[str, Any]], users)  # see `as_read`
        return UpsertUsersPayload(all_results=await store_users(info.context.gateway.shares.bulk, patches))
