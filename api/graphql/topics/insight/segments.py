"""Segments: groups of users that the shop defines, with all versions, and the mutations that change them."""

from typing import Annotated, Any

import strawberry
import structlog

from api.graphql.context import Info
from api.graphql.topics.insight.segment_types import (
    Segment,
    SegmentChanges,
    SegmentInput,
    SegmentPreviewInput,
    SegmentSize,
    settings_in,
)
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from api.graphql.versioned_settings import errors_of
from core.errors import InvalidInput
from db import segments as stored
from engine.segments.defining import (
    check_segment_id,
    create_segment,
    remove_segment,
    replace_segment,
    update_segment,
)
from engine.segments.sizing import conditions_in, size_of

log = structlog.get_logger()


@strawberry.type(description="The outcome of `saveSegment`.")
class SaveSegmentPayload:
    """The saved segment, or why nothing changed."""

    segment: Segment | None = strawberry.field(description="The segment; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing changed; empty when it was saved.")


@strawberry.type(description="The outcome of `createSegment`.")
class CreateSegmentPayload:
    """The new segment, or why there is none."""

    segment: Segment | None = strawberry.field(description="The segment; null when it was refused.")
    size: SegmentSize | None = strawberry.field(description="How many users belong to it; null when it was refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused, an error for each wrong field.")


@strawberry.type(description="The outcome of `updateSegment`.")
class UpdateSegmentPayload:
    """The changed segment, or why nothing changed."""

    segment: Segment | None = strawberry.field(description="The segment; null when the change was refused.")
    size: SegmentSize | None = strawberry.field(
        description="How many users belong to it; null when the change was refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused, an error for each wrong field.")


@strawberry.type(description="The outcome of `previewSegment`.")
class SegmentPreview:
    """The size of a segment that is not saved, or why it could not be."""

    size: SegmentSize | None = strawberry.field(
        description="How many users would belong to it; null when the conditions are refused."
    )
    user_errors: list[UserError] = strawberry.field(description="What is wrong, an error for each wrong field.")


@strawberry.type(description="The outcome of `deleteSegment`.")
class DeleteSegmentPayload:
    """Whether the segment was there."""

    deleted: bool = strawberry.field(description="Whether there was such a segment.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing was deleted; empty when nothing is wrong.")


SegmentId = Annotated[strawberry.ID, strawberry.argument(description="The id of the segment.")]


@strawberry.type
class SegmentQuery:
    """Queries of segments."""

    @strawberry.field(
        permission_classes=[requires("segments:read")],
        description="All segments, by id: at most 100. What this release cannot read is left out.",
    )
    async def segments(self, info: Info) -> list[Segment] | None:
        """All segments."""
        found = []
        for record in await stored.list_segments(info.context.reads):
            try:
                found.append(Segment.of(record))
            except InvalidInput as error:
                log.warning("segment_not_read", segment=record.id, error=str(error))
        return found

    @strawberry.field(
        permission_classes=[requires("segments:read")], description="One segment; null when no segment has this id."
    )
    async def segment(self, info: Info, id: SegmentId) -> Segment | None:
        """The segment with this id."""
        record = await stored.segment_by_id(info.context.reads, check_segment_id(id))
        return None if record is None else Segment.of(record)

    @strawberry.field(
        permission_classes=[requires("segments:read")],
        description="How many users would belong to a segment with these conditions. Nothing is saved.",
    )
    async def preview_segment(
        self, info: Info, input: Annotated[SegmentPreviewInput, strawberry.argument(description="The conditions.")]
    ) -> SegmentPreview | None:
        """The size of a segment that is not saved."""
        try:
            where = conditions_in(_document(input)["where"])
        except InvalidInput as error:
            return SegmentPreview(size=None, user_errors=errors_of(error))
        return SegmentPreview(size=SegmentSize.of(await size_of(info.context.reads, where)), user_errors=[])


@strawberry.type
class SegmentMutation:
    """Mutations of segments."""

    @strawberry.mutation(
        permission_classes=[requires("segments:write")],
        description="Add a segment. There may be 100. An id that a segment has already is refused.",
    )
    async def create_segment(
        self, info: Info, input: Annotated[SegmentInput, strawberry.argument(description="The segment.")]
    ) -> CreateSegmentPayload | None:
        """Add a segment."""
        given, pool, by = _document(input), info.context.gateway.shares.bulk, recorded_name(info.context.viewer)
        try:
            record = await create_segment(pool, given["id"], settings_in(given), by, given.get("reason"))
        except InvalidInput as error:
            return CreateSegmentPayload(segment=None, size=None, user_errors=errors_of(error))
        size = await _size(info, record)
        return CreateSegmentPayload(segment=Segment.of(record), size=size, user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("segments:write")],
        description="Change a segment. A change that changes nothing makes no version.",
    )
    async def update_segment(
        self,
        info: Info,
        id: SegmentId,
        input: Annotated[SegmentChanges, strawberry.argument(description="What changes.")],
    ) -> UpdateSegmentPayload | None:
        """Change a segment."""
        given, pool, by = _document(input), info.context.gateway.shares.bulk, recorded_name(info.context.viewer)
        version, reason = given.get("version"), given.get("reason")
        try:
            record = await update_segment(pool, id, settings_in(given), by, reason, expected=version)
        except InvalidInput as error:
            return UpdateSegmentPayload(segment=None, size=None, user_errors=errors_of(error))
        size = await _size(info, record)
        return UpdateSegmentPayload(segment=Segment.of(record), size=size, user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("segments:write")],
        description="Add a segment, or replace the one with this id. There may be 100.",
        deprecation_reason="Since 2026-11-29; removed on 2027-06-01 at the earliest. Use `createSegment`, or"
        " `updateSegment` for a segment that is there.",
    )
    async def save_segment(
        self, info: Info, input: Annotated[SegmentInput, strawberry.argument(description="The segment.")]
    ) -> SaveSegmentPayload | None:
        """Save a segment."""
        given, pool, by = _document(input), info.context.gateway.shares.bulk, recorded_name(info.context.viewer)
        try:
            record = await replace_segment(pool, given["id"], settings_in(given), by, given.get("reason"))
        except InvalidInput as error:
            return SaveSegmentPayload(segment=None, user_errors=errors_of(error))
        return SaveSegmentPayload(segment=Segment.of(record), user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("segments:write")],
        description="Delete a segment with its members. Its history is kept.",
    )
    async def delete_segment(
        self,
        info: Info,
        id: SegmentId,
        version: Annotated[
            int | None, strawberry.argument(description="The version that you have read; null for whatever it is.")
        ] = None,
        reason: Annotated[
            str | None, strawberry.argument(description="Why, for the record: at most 500 characters.")
        ] = None,
    ) -> DeleteSegmentPayload | None:
        """Delete a segment."""
        pool, by = info.context.gateway.shares.bulk, recorded_name(info.context.viewer)
        try:
            deleted = await remove_segment(pool, id, by, reason, expected=version)
        except InvalidInput as error:
            return DeleteSegmentPayload(deleted=False, user_errors=errors_of(error))
        return DeleteSegmentPayload(deleted=deleted, user_errors=[])


async def _size(info: Info, record: stored.Segment) -> SegmentSize:
    """How many users belong to a segment that was just saved."""
    return SegmentSize.of(await size_of(info.context.reads, conditions_in(record.definition)))


def _document(given: Any) -> dict[str, Any]:
    """The input by its names in the schema, as `as_read` gives it."""
    return dict(given)
