"""`explain`: why an item is in a person's list, or is not."""

from datetime import datetime, timedelta
from typing import Annotated, Self

import strawberry

from api.graphql.context import Context, Info
from api.graphql.topics.insight.rule_types import ExplanationRule
from api.graphql.topics.items import Item
from api.graphql.topics.lists.edges import Reason, ReasonCode
from api.graphql.topics.lists.kinds import ListArgument
from api.graphql.topics.recommendations import RecommendationContext, list_request, with_rules
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import PlacedFirst
from api.graphql.types.filters import FilterBy, read_filter
from api.graphql.types.permissions import requires
from core.contract import Person, check_id, check_user_id
from engine.explaining import explaining as engine
from engine.explaining.explaining import CandidateSource, ExplanationOutcome, FeatureGroup
from engine.explaining.removals import RemovalRule
from engine.explaining.words import summary_of
from engine.placements.placement import Placement
from engine.recommending.people import Degradation
from engine.recommending.recommendations import Recommender
from ml.ranked import REASONS

METHOD = "Shapley values over groups of features, exact over all coalitions, against the median candidate of the list"

strawberry.enum(
    ExplanationOutcome,
    description="Where an item is. SHOWN: in the list. RANKED_BELOW: a candidate with a lower score than those shown,"
    " or an item that has a later place by chance or as a rule pins it. NOT_A_CANDIDATE: no source named it,"
    " so it has no score. REMOVED: a rule keeps it out, whatever its score is.",
)
strawberry.enum(
    RemovalRule,
    description="Why an item may not be in a list. UNKNOWN_ITEM: the catalogue never had it. WITHDRAWN: it was removed"
    " from the catalogue. UNAVAILABLE: it cannot be bought in the market. PLACEMENT_FILTER, PLACEMENT_PRICE,"
    " PLACEMENT_REPEAT: the settings of the placement do not want it; the last of them, because the person bought it"
    " or a variant of it. RULE: a rule of the shop does not want it, `ruleId` says which. NOT_ON_SALE, NOT_NEW: the"
    " kind of list does not have it. FILTER, CATEGORY, EXCLUDED: the request does not want it. ON_PAGE: the context of"
    " the request shows it. HIDDEN: the person hid it, or a category of it. DISLIKED: the person disliked it. IN_CART:"
    " it is in their cart. RESTING: they just bought it. VARIANT: one of these holds for a variant of it, or that is"
    " listed.",
)
strawberry.enum(
    CandidateSource,
    description="A source of candidates. OWN_PURCHASES: what the person bought. SIMILAR_ITEMS: what is near to that."
    " NEXT_ITEMS: what people buy after the person's last orders. LINEAR_MODEL: what a linear model (EASE) expects"
    " after all that they bought. SEQUENCE: what a model of sequences expects."
    " POPULAR: what most people buy. SEEN: what the person lately looked at, put into the cart, liked or rated well."
    " NEAR_SEEN: what is near to that. JUST_SEEN: what is near to items just looked at or on the page. FALLBACK: what"
    " fills a list that has too few candidates. OTHER: a source without a name of its own.",
)
strawberry.enum(
    FeatureGroup,
    description="Features of the model that belong together. OWN_PURCHASES: how often the person bought the item."
    " TIMING: when they did, against when they usually do. SIMILAR_ITEMS: how near it is to what they buy. NEXT_ITEMS:"
    " how often it follows their last orders. SEQUENCE: what a model of sequences says. CATEGORY: how much of what they"
    " buy is of its category. SEEN: what the person lately looked at, in this visit above all."
    " ITEM: its popularity, price and how often people rebuy it. PERSON: the person's own tempo"
    " and spend. OTHER: all else.",
)


@strawberry.type(description="What one source of candidates says of the item.")
class ExplanationSource:
    """What a source says."""

    source: CandidateSource = strawberry.field(description="The source.")
    names: bool = strawberry.field(description="Whether it names the item as a candidate.")
    evidence: float | None = strawberry.field(
        description="How strong its evidence is, comparable within one source only; null where it has none."
    )
    place: int | None = strawberry.field(
        description="The item's place among the items that the source knows and the list may have, from 1."
    )
    takes: int | None = strawberry.field(description="How many of the first ones it names; null for all.")
    because: list[Item] = strawberry.field(description="The items that the evidence comes from, at most three.")

    @classmethod
    def of(cls, source: engine.Source, market: str | None) -> Self:
        """The public shape."""
        says = source.says
        return cls(
            source=says.source,
            names=says.names,
            evidence=says.value,
            place=says.place,
            takes=says.takes,
            because=[Item.of(item, market) for item in source.because],
        )


@strawberry.type(description="What a group of features adds to the logit of the score.")
class FeatureContribution:
    """A contribution."""

    group: FeatureGroup = strawberry.field(description="The group.")
    value: float = strawberry.field(description="What it adds; negative where it lowers the score.")


@strawberry.type(
    description="What the score is made of. The network's logit is that of the median candidate of the list plus the"
    " contributions. The score is 1 - (1 - sigmoid(logit) x lowering) x (1 - lift)."
)
class ScoreParts:
    """The parts of a score."""

    method: str = strawberry.field(description="How the contributions are computed.")
    logit: float = strawberry.field(description="What the network says of the item.")
    median_logit: float = strawberry.field(
        description="What it says of a pair whose features are each the median of all candidates of this list."
    )
    contributions: list[FeatureContribution] = strawberry.field(
        description="What makes the difference of the two, largest first. They add up to it, up to rounding. Groups in"
        " which the two do not differ are left out."
    )
    lift: float = strawberry.field(description="What items just looked at or on the page add, 0 to 1; 0 for none.")
    lowering: float = strawberry.field(description="The factor for being like a disliked item; 1 for none.")

    @classmethod
    def of(cls, parts: engine.ScoreParts) -> Self:
        """The public shape."""
        largest = sorted(parts.contributions.items(), key=lambda each: -abs(each[1]))
        return cls(
            method=METHOD,
            logit=parts.logit,
            median_logit=parts.median_logit,
            contributions=[FeatureContribution(group=group, value=value) for group, value in largest],
            lift=parts.lift,
            lowering=parts.lowering,
        )


@strawberry.type(description="The last item that the list shows: what an item below it has to pass.")
class ListEdge:
    """The last shown item."""

    rank: int = strawberry.field(description="Its rank.")
    item: Item = strawberry.field(description="The item.")
    score: float = strawberry.field(description="Its score; comparable within this list only.")


@strawberry.type(description="Why an item is in a person's list, or is not.")
class Explanation:
    """An explanation."""

    outcome: ExplanationOutcome = strawberry.field(description="Where the item is.")
    summary: str = strawberry.field(description="Where it is and why, in English, for people who look into it.")
    item: Item | None = strawberry.field(description="The item; null when the catalogue does not have it.")
    rank: int | None = strawberry.field(
        description="Its rank from 1, also below the list; null where it is not ranked, or behind the first 1,000."
    )
    rule: RemovalRule | None = strawberry.field(description="The first rule that keeps it out; null for none.")
    until: datetime | None = strawberry.field(description="When that rule ends by itself; null where it does not.")
    rule_id: strawberry.ID | None = strawberry.field(
        description="The rule of the shop that keeps it out, where `rule` is RULE."
    )
    rules: list[ExplanationRule] = strawberry.field(
        description="All rules of the shop that are about the item and hold for this list, the most important first."
    )
    rank_without_rules: int | None = strawberry.field(
        description="Its rank if the shop had no rules; null where none holds, and as for `rank`."
    )
    variant: Item | None = strawberry.field(description="The variant that the rule VARIANT is about.")
    sources: list[ExplanationSource] = strawberry.field(
        description="What each source of candidates says of it; empty for an item that the catalogue does not have."
    )
    score: float | None = strawberry.field(
        description="What the list is ordered by, comparable within this list only; null for an item without a score."
    )
    probability: float | None = strawberry.field(
        description="The probability in the list, as in `RecommendationEdge`; null where that is null, or without it."
    )
    parts: ScoreParts | None = strawberry.field(
        description="What the score is made of, or would be if the item were a candidate; null without a model, and for"
        " an item that the model does not know."
    )
    edge: ListEdge | None = strawberry.field(description="The last shown item; null when the item itself is shown.")
    reason: Reason | None = strawberry.field(description="The reason that the list shows; null for an item not ranked.")
    model_version: strawberry.ID | None = strawberry.field(description="The model that ranked; null without one.")
    as_of: datetime = strawberry.field(description="The time the list was made for.")
    degraded: list[Degradation] = strawberry.field(description="Why the list is less personal or fresh than usual.")

    @classmethod
    def of(
        cls, found: engine.Explanation, context: Context, person: Person, market: str | None, placed: Placement | None
    ) -> Self:
        """The public shape."""
        removal, edge, shown = found.removal, found.edge, found.item
        reason = None
        if found.reason is not None and shown is not None:
            reason = Reason(
                code=ReasonCode[REASONS[found.reason]],
                person=person,
                shown=shown,
                cause=found.cause or shown,
                every=found.every,
                texts=(placed and placed.texts) or context.gateway.reason_texts,
                market=market,
            )
        variant = removal.cause if removal else None
        return cls(
            outcome=found.outcome,
            summary=summary_of(found),
            item=Item.of(shown, market) if shown else None,
            rank=found.rank,
            rule=removal.rule if removal else None,
            until=removal.until if removal else None,
            rule_id=strawberry.ID(removal.rule_id) if removal and removal.rule_id is not None else None,
            rules=[ExplanationRule.of(effect) for effect in found.rules],
            rank_without_rules=found.rank_without_rules,
            variant=Item.of(variant, market) if variant else None,
            sources=[ExplanationSource.of(source, market) for source in found.sources],
            score=found.score,
            probability=found.probability,
            parts=ScoreParts.of(found.parts) if found.parts else None,
            edge=ListEdge(rank=edge.rank, item=Item.of(edge.item, market), score=edge.score) if edge else None,
            reason=reason,
            model_version=strawberry.ID(found.bundle.id) if found.bundle else None,
            as_of=found.as_of,
            degraded=list(found.degraded),
        )


@strawberry.type
class ExplanationQuery:
    """The query of explanations."""

    @strawberry.field(
        permission_classes=[requires("models:read")],
        description="Why an item is in the list that a user would get now, or is not. The list is made as"
        " `recommendations` makes it when nobody will see it: other lists of a page may keep an item out that is SHOWN"
        " here. `first` multiplies the cost.",
    )
    async def explain(
        self,
        info: Info,
        user_id: Annotated[strawberry.ID, strawberry.argument(description="The shop's own id of the user.")],
        item_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the item.")],
        placement: Annotated[
            str, strawberry.argument(description="The place where the list is shown: any name of 1 to 64 characters.")
        ] = "home",
        context: Annotated[
            RecommendationContext | None, strawberry.argument(description="What the person is looking at.")
        ] = None,
        model_version_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="The model to ask; null for the one that serves.")
        ] = None,
        filter: FilterBy = None,
        exclude: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description="The ids of items to leave out, at most 400.", directives=[AtMost(elements=400)]
            ),
        ] = None,
        market: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="The market the person buys in; null for all markets."),
        ] = None,
        first: PlacedFirst = None,
        list: ListArgument = None,
    ) -> Explanation | None:
        """The explanation of one item."""
        person, id = Person("user", check_user_id(user_id, "userId")), check_id(item_id, "itemId")
        placed = info.context.gateway.placements.find(placement)
        request = list_request(
            placement, first, context, market, read_filter(filter), exclude, placed=placed, kind=list
        )
        request = await with_rules(info.context, person, placement, request)
        version = None if model_version_id is None else check_id(model_version_id, "modelVersionId")
        found = await _explainer(info.context).explain(person, id, request, version)
        return Explanation.of(found, info.context, person, request.market, placed)


def _explainer(context: Context) -> engine.Explainer:
    gateway = context.gateway
    recommender = Recommender(gateway.catalogue, gateway.models, gateway.signer, context.people, context.turns)
    recommender.bundle = context.recommender.bundle
    hold = timedelta(days=gateway.settings.lists.dislikes_hold)
    return engine.Explainer(
        gateway.catalogue, gateway.models, recommender, context.people, context.turns, context.reads, dislikes_hold=hold
    )
