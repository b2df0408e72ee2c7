"""The schema, assembled from one file per topic."""

from functools import cached_property

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.graphql.entities.federation import FederationQuery
from api.graphql.entities.nodes import NodeQuery
from api.graphql.topics.catalogue import CatalogueMutation
from api.graphql.topics.choices.changing import ChoiceMutation
from api.graphql.topics.choices.forgetting import ForgetMutation
from api.graphql.topics.clients import ClientMutation, ClientQuery
from api.graphql.topics.dead_events import DeadEventMutation, DeadEventQuery
from api.graphql.topics.erasures import ErasureMutation, ErasureQuery
from api.graphql.topics.events import EventMutation
from api.graphql.topics.identities import IdentityMutation
from api.graphql.topics.insight.explanations import ExplanationQuery
from api.graphql.topics.insight.model_diff import ModelDiffQuery
from api.graphql.topics.insight.placements import PlacementMutation, PlacementQuery
from api.graphql.topics.insight.readiness import ReadinessQuery
from api.graphql.topics.insight.rules import RuleMutation, RuleQuery
from api.graphql.topics.insight.segments import SegmentMutation, SegmentQuery
from api.graphql.topics.items import Item, ItemQuery
from api.graphql.topics.jobs import JobMutation, JobQuery, JobSubscription
from api.graphql.topics.models import ModelMutation, ModelQuery
from api.graphql.topics.people import PeopleMutation, PeopleQuery
from api.graphql.topics.recommendations import LIST_FIELDS, RecommendationQuery
from api.graphql.types.bounds import AtMost, add_bound
from api.graphql.types.cache_control import CacheControl, with_cache_control
from api.graphql.types.keys import Key
from api.graphql.types.permissions import OrOneself, RequiresScopes, directives_of
from api.graphql.types.scalars import SCALARS

_LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@requiresScopes"])'
ADDED_FIELDS = {Item: LIST_FIELDS}  # fields whose type refers back to the type they are a field of


@strawberry.type(description="All queries. A field that needs scopes lists them with `@requiresScopes`.")
class Query(
    PeopleQuery,
    ErasureQuery,
    ItemQuery,
    RecommendationQuery,
    ModelQuery,
    JobQuery,
    DeadEventQuery,
    ExplanationQuery,
    ModelDiffQuery,
    ReadinessQuery,
    SegmentQuery,
    PlacementQuery,
    RuleQuery,
    ClientQuery,
    NodeQuery,
    FederationQuery,
):
    """All queries."""


@strawberry.type(description="All mutations. A field that needs scopes lists them with `@requiresScopes`.")
class Mutation(
    EventMutation,
    IdentityMutation,
    ChoiceMutation,
    ForgetMutation,
    CatalogueMutation,
    PeopleMutation,
    ErasureMutation,
    JobMutation,
    ModelMutation,
    DeadEventMutation,
    SegmentMutation,
    PlacementMutation,
    RuleMutation,
    ClientMutation,
):
    """All mutations."""


@strawberry.type(description="All subscriptions. A field that needs scopes lists them with `@requiresScopes`.")
class Subscription(JobSubscription):
    """All subscriptions."""


class Schema(strawberry.Schema):
    """A schema with the fields of ADDED_FIELDS that prints what its fields need and who may keep them."""

    @cached_property
    def subgraph_sdl(self) -> str:
        """The schema for a router. What federation defines is the same there, so it may stay defined here."""
        return f"{_LINK}\n\n{self.as_str()}"

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """The fields of a type, each with the directives of its permission classes and the bounds of its lists.

        Fields that caches may keep are marked.
        """
        fields = [*super().get_fields(type_definition), *ADDED_FIELDS.get(type_definition.origin, ())]
        for field in fields:
            for declared in (field,) if type_definition.is_input else field.arguments:
                add_bound(declared)
            needed = [one for permission in field.permission_classes for one in directives_of(permission)]
            field.directives = [*field.directives, *(one for one in needed if one not in field.directives)]
        names = self.config.name_converter
        type_name = names.from_type(type_definition)
        return [with_cache_control(type_name, field, names.get_graphql_name(field)) for field in fields]


def build_schema() -> Schema:
    """The schema. Each call makes new GraphQL types, so build it once."""
    return Schema(
        Query,
        Mutation,
        Subscription,
        types=[RequiresScopes, OrOneself, AtMost, Key, CacheControl],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


SCHEMA = build_schema()
