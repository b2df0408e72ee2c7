"""What mutations of many elements answer: one outcome per element, so that a bad one spoils no good one."""

from collections.abc import Sequence
from typing import Annotated, Self

import strawberry

from engine.outcomes import Outcome, Result

strawberry.enum(
    Outcome,
    description="What became of one element: ACCEPTED it is safe with us; DUPLICATE it already was, nothing changed;"
    " CONFLICT its identity belongs to something else; REJECTED it is wrong or not allowed, and will stay so;"
    " RETRY it could not be taken just now: send it again, as it is.",
)


@strawberry.type(description="What became of one element of a batch.")
class ElementResult:
    """One element's outcome."""

    index: int = strawberry.field(description="Its place in the batch, from 0.")
    id: strawberry.ID | None = strawberry.field(
        description="Its id: the sender's, or the one it was given; null when the sender's cannot be repeated."
    )
    outcome: Outcome = strawberry.field(description="What became of it.")
    code: str | None = strawberry.field(description="Why not, for programs.")
    field: list[str] | None = strawberry.field(description="Path of the input at fault, inside the element.")
    message: str | None = strawberry.field(description="Why not, for people.")

    @classmethod
    def of(cls, result: Result) -> Self:
        """The public shape of a result."""
        return cls(
            index=result.index,
            id=None if result.id is None else strawberry.ID(result.id),
            outcome=result.outcome,
            code=result.code,
            field=result.field,
            message=result.message,
        )


@strawberry.type
class BatchPayload:
    """The shape that payloads of batches share: subclass it under the mutation's own name."""

    told: strawberry.Private[Sequence[Result]]

    @strawberry.field(description="How many are ACCEPTED.")
    def accepted(self) -> int:
        """How many were taken."""
        return self._count(Outcome.ACCEPTED)

    @strawberry.field(description="How many are REJECTED or CONFLICT: as they are, they will never be taken.")
    def rejected(self) -> int:
        """How many never will be."""
        return self._count(Outcome.REJECTED, Outcome.CONFLICT)

    @strawberry.field(description="The outcomes, in the order of the batch.")
    def results(
        self,
        only: Annotated[list[Outcome] | None, strawberry.argument(description="Leave out all but these.")] = None,
    ) -> list[ElementResult]:
        """The outcome of each element."""
        return [ElementResult.of(result) for result in self.told if only is None or result.outcome in only]

    def _count(self, *outcomes: Outcome) -> int:
        return sum(result.outcome in outcomes for result in self.told)
