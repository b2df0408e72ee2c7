"""The types of segments, as clients write and read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import strawberry

from api.graphql.context import Info
from api.graphql.topics.insight.segment_conditions import SegmentConditions, SegmentConditionsInput
from api.graphql.types.as_read import as_read
from api.graphql.types.connections import After, Connection, First
from api.graphql.types.permissions import requires
from api.graphql.versioned_settings import page_of_versions
from core.errors import InvalidInput
from db import segments as stored
from db.versioned_settings import StoredSettings
from engine.segments.settings import read_segment
from engine.segments.sizing import Size

_LARGEST_COUNT = 2**31 - 1


@as_read
@strawberry.input(description="Conditions to try out.")
class SegmentPreviewInput:
    """A segment that is not saved."""

    where: SegmentConditionsInput = strawberry.field(description="Who would belong to it. It needs a condition.")


@as_read
@strawberry.input(description="A segment.")
class SegmentInput:
    """A segment to save."""

    id: strawberry.ID = strawberry.field(
        description="The shop's own id: 1 to 64 letters, digits, dots, dashes, underscores."
    )
    name: str = strawberry.field(description="A name for people, 1 to 100 characters.")
    where: SegmentConditionsInput = strawberry.field(description="Who belongs to it. It needs a condition.")
    reason: str | None = strawberry.field(default=None, description="Why, for the record: at most 500 characters.")


@as_read
@strawberry.input(description="A change of a segment: a field left out keeps its value, null clears it.")
class SegmentChanges:
    """A change of settings."""

    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="A name for people, 1 to 100 characters; null for the id."
    )
    where: SegmentConditionsInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="Who belongs to it: a condition left out stays as it is, null removes it. It needs a condition.",
    )
    version: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="The version that you have read: if there is a newer one, nothing changes and the error is"
        " CONFLICT. Null or left out: whatever it is.",
    )
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the record: at most 500 characters."
    )


@strawberry.type(description="How many users belong to a segment, counted at once. Counting takes a second at most.")
class SegmentSize:
    """The size of a segment."""

    members: int | None = strawberry.field(description="How many users; null when it is not known.")
    as_of: datetime | None = strawberry.field(
        description="When the figures of users were found; traits and events are as of now."
    )
    note: str | None = strawberry.field(description="Why it is not known; null when it is.")

    @classmethod
    def of(cls, size: Size) -> Self:
        """The public shape."""
        members = None if size.members is None else min(size.members, _LARGEST_COUNT)
        return cls(members=members, as_of=size.as_of, note=size.note)


@strawberry.type(description="One version of what a segment says.")
class SegmentVersion:
    """One version."""

    version: int = strawberry.field(description="The number of the version, from 1.")
    removed: bool = strawberry.field(description="Whether the segment was deleted; name and conditions are null then.")
    name: str | None = strawberry.field(description="Its name for people.")
    where: SegmentConditions | None = strawberry.field(
        description="Who belonged to it; null also for conditions that this release cannot read."
    )
    changed_at: datetime = strawberry.field(description="When this version was made.")
    changed_by: str = strawberry.field(description="Who made it.")
    reason: str | None = strawberry.field(description="Why; null when nobody said it.")

    @classmethod
    def of(cls, record: StoredSettings) -> Self:
        """The public shape."""
        settings = record.settings
        return cls(
            version=record.version,
            removed=settings is None,
            name=settings["name"] if settings else None,
            where=_conditions(settings) if settings else None,
            changed_at=record.changed_at,
            changed_by=record.changed_by,
            reason=record.reason,
        )


@strawberry.type(
    description="A group of users. Its members are found within a minute after it was saved, then every hour, and are"
    " read by `GET /segments/{id}/members`."
)
class Segment:
    """A segment."""

    id: strawberry.ID = strawberry.field(description="The shop's own id.")
    name: str = strawberry.field(description="Its name for people.")
    where: SegmentConditions = strawberry.field(description="Who belongs to it.")
    members: int | None = strawberry.field(
        description="How many users belonged to it when they were found last; null before that."
    )
    as_of: datetime | None = strawberry.field(description="When they were found last; null before that.")
    version: int = strawberry.field(description="The number of the version, from 1.")
    changed_at: datetime = strawberry.field(description="When it was changed last.")
    changed_by: str = strawberry.field(description="Who changed it.")
    reason: str | None = strawberry.field(description="Why; null when nobody said it.")

    @classmethod
    def of(cls, record: stored.Segment) -> Self:
        """The public shape. Raises InvalidInput for conditions of another release that this one cannot read."""
        settings = read_segment({"name": record.name, "where": record.definition})
        return cls(
            id=strawberry.ID(record.id),
            name=settings.name,
            where=SegmentConditions.of(settings.where),
            members=None if record.members is None else min(record.members, _LARGEST_COUNT),
            as_of=record.made_at,
            version=record.version,
            changed_at=record.changed_at,
            changed_by=record.changed_by,
            reason=record.reason,
        )

    @strawberry.field(
        permission_classes=[requires("segments:read")], description="All versions of the segment, newest first."
    )
    async def history(self, info: Info, first: First = 20, after: After = None) -> Connection[SegmentVersion] | None:
        """A page of versions."""
        return await page_of_versions(info, stored.SEGMENTS, "segment", self.id, first, after, SegmentVersion.of)


def _conditions(settings: Mapping[str, Any]) -> SegmentConditions | None:
    """What stored settings ask for; None for those of another release that this one cannot read."""
    try:
        return SegmentConditions.of(read_segment(settings).where)
    except InvalidInput:
        return None


def settings_in(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in an input, by its names in the schema."""
    return {name: given[name] for name in ("name", "where") if name in given}
