"""The event contract: what a shop may say happened. The one source of the JSON Schema and the GraphQL input."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

EARLIEST = datetime.fromisoformat("1990-01-01T00:00:00+00:00")
AHEAD = timedelta(minutes=5)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class EventType(StrEnum):
    """What a person did."""

    VIEW = "VIEW"
    CLICK = "CLICK"
    ADD_TO_CART = "ADD_TO_CART"
    REMOVE_FROM_CART = "REMOVE_FROM_CART"
    PURCHASE = "PURCHASE"
    RETURN = "RETURN"
    RATING = "RATING"
    LIKE = "LIKE"
    DISLIKE = "DISLIKE"
    SEARCH = "SEARCH"
    IMPRESSION = "IMPRESSION"
