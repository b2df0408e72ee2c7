"""The schema, assembled from one file per topic."""

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.graphql.topics.catalogue import CatalogueMutation
from api.graphql.topics.dead_events import DeadEventMutation, DeadEventQuery
from api.graphql.topics.erasures import ErasureMutation, ErasureQuery
from api.graphql.topics.events import EventMutation
from api.graphql.topics.identities import IdentityMutation
from api.graphql.topics.items import ItemQuery
from api.graphql.topics.jobs import JobMutation, JobQuery
from api.graphql.topics.models import ModelQuery
from api.graphql.topics.nodes import NodeQuery
from api.graphql.topics.people import PeopleMutation, PeopleQuery
from api.graphql.topics.promotions import ModelMutation
from api.graphql.topics.recommendations import RecommendationQuery
from api.graphql.types.permissions import Requires
from api.graphql.types.scalars import SCALARS


@strawberry.type(description="What can be asked. A field that needs a scope says so with `@requires`.")
class Query(PeopleQuery, ErasureQuery, ItemQuery, RecommendationQuery, ModelQuery, JobQuery, DeadEventQuery, NodeQuery):
    """All queries."""


@strawberry.type(description="What can be told or changed.")
class Mutation(
    EventMutation,
    IdentityMutation,
    CatalogueMutation,
    PeopleMutation,
    ErasureMutation,
    JobMutation,
    ModelMutation,
    DeadEventMutation,
):
    """All mutations."""


class Schema(strawberry.Schema):
    """Prints the scopes its fields need."""

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """The fields, each with the directives of its permission classes."""
        fields = super().get_fields(type_definition)
        for field in fields:
            asked = [permission._schema_directive for permission in field.permission_classes]
            field.directives = [*field.directives, *(one for one in asked if one and one not in field.directives)]
        return fields


def build_schema() -> Schema:
    """The schema; its GraphQL types are made anew, so build it once."""
    return Schema(Query, Mutation, types=[Requires], config=StrawberryConfig(scalar_map=SCALARS))


SCHEMA = build_schema()
