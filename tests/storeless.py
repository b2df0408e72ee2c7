"""A gateway without stores, for endpoints whose resolvers use none."""

from dataclasses import dataclass, field
from typing import Any, cast

from api.http.json_body import HeavyBodies
from core.turns import Turns
from engine.clients.deprecated_uses import DeprecatedUses


@dataclass
class Storeless:
    """The parts of a gateway that an endpoint uses itself."""

    turns: Turns = field(default_factory=Turns)
    heavy_bodies: HeavyBodies = field(default_factory=HeavyBodies)
    deprecated_uses: DeprecatedUses = field(default_factory=lambda: DeprecatedUses(cast(Any, None)))
