"""A gateway without stores, for endpoints whose resolvers use none."""

from dataclasses import dataclass, field

from api.http.json_body import HeavyBodies
from core.turns import Turns


@dataclass
class Storeless:
    """The parts of a gateway that an endpoint uses itself."""

    turns: Turns = field(default_factory=Turns)
    heavy_bodies: HeavyBodies = field(default_factory=HeavyBodies)
