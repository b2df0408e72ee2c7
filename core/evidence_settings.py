"""The settings of what events such as views say of what a person buys."""

from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from core.events import EventType
from core.setting_concern import Concern, separated

OF_INTEREST: Final = ("VIEW", "CLICK", "ADD_TO_CART", "RATING", "LIKE")
_Numbers = Annotated[dict[EventType, float], NoDecode]


class Evidence(Concern):
    """What an event of interest says, until the shop's own log has enough of them. Read by trainings."""

    event_weights: _Numbers = Field(
        {},
        description="Chance from 0 to 1 that the item of an event is bought next, by that event alone. Types that are"
        " not named have VIEW=0.4,CLICK=0.5,ADD_TO_CART=0.7,RATING=0.4,LIKE=0.6.",
    )
    event_half_lives: _Numbers = Field(
        {}, description="Hours after which that chance is halved, as VIEW=6,LIKE=72; 6 for types that are not named."
    )

    @field_validator("event_weights", "event_half_lives", mode="before")
    @classmethod
    def _pairs(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        pairs = [part.partition("=") for part in separated(text)]  # type: ignore[attr-defined]
        if wrong := [name for name, equals, _ in pairs if not equals or name.strip() not in OF_INTEREST]:
            known = ", ".join(OF_INTEREST)
            raise ValueError(
                f"must be pairs such as VIEW=0.4, with the types {known}; {wrong[0][:20]!r} is no such pair"
            )
        found = {name.strip(): value.strip() for name, _, value in pairs}
        if len(found) < len(pairs):
            raise ValueError("must name each type once")
        return found

    @field_validator("event_weights")
    @classmethod
    def _are_chances(cls, weights: dict[EventType, float]) -> dict[EventType, float]:
        if not all(0 < weight < 1 for weight in weights.values()):
            raise ValueError("must be between 0 and 1")
        return weights

    @field_validator("event_half_lives")
    @classmethod
    def _are_hours(cls, hours: dict[EventType, float]) -> dict[EventType, float]:
        if not all(0.1 <= each <= 8_760 for each in hours.values()):
            raise ValueError("must be from 0.1 to 8760 hours")
        return hours
