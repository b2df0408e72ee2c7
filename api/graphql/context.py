"""What a resolver may reach: the viewer, the process's gateway, and this request's loaders."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import strawberry

from api.gateway import Gateway
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import Recommender
from engine.viewer import Viewer


@dataclass
class Context:
    """One request. Its loaders read each person once and keep one bundle, however many fields ask."""

    viewer: Viewer
    gateway: Gateway
    request_id: str
    filters: dict[int, Any] = field(default_factory=dict)  # what `api.graphql.types.filters` has read

    @cached_property
    def people(self) -> PersonLoader:
        """The people this request has read."""
        return PersonLoader(self.gateway.people)

    @cached_property
    def recommender(self) -> Recommender:
        """The lists of this request, all from one bundle."""
        return Recommender(self.gateway.catalogue, self.gateway.models, self.gateway.signer, self.people)


Info = strawberry.Info[Context, None]
