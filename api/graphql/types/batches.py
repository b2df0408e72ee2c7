"""Payloads of mutations over many elements: one outcome per element, so that a wrong element does not stop the rest."""

from collections.abc import Sequence
from typing import Annotated, Self

import strawberry

from engine.outcomes import Outcome, Result

strawberry.enum(
    Outcome,
    description="The outcome of one element of a batch. ACCEPTED: it is stored safely. DUPLICATE: it was stored"
    " before; nothing changed. CONFLICT: something else has its identity, or a newer version is stored. REJECTED: it"
    " is wrong or not allowed; sending it again does not help. RETRY: it could not be stored now; send it again"
    " unchanged.",
)


@strawberry.type(description="The outcome of one element of a batch.")
class ElementResult:
    """One element's outcome."""

    index: int = strawberry.field(description="The position of the element in the batch, from 0.")
    id: strawberry.ID | None = strawberry.field(
        description="The element's id: the one that was sent, or the one the server gave it; null when the element has"
        " no valid id."
    )
    outcome: Outcome = strawberry.field(description="What happened to the element.")
    code: str | None = strawberry.field(
        description="Why the element was not accepted, as a code for programs, such as BAD_USER_INPUT; null otherwise."
    )
    field: list[str] | None = strawberry.field(
        description="The path of the wrong field inside the element; null when no single field is wrong."
    )
    message: str | None = strawberry.field(
        description="Why the element was not accepted, as a sentence for people; null otherwise."
    )

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
    """The fields that the payloads of batches share. Subclass it under the mutation's own name."""

    all_results: strawberry.Private[Sequence[Result]]

    @strawberry.field(description="How many elements are ACCEPTED.")
    def accepted(self) -> int:
        """How many elements were accepted."""
        return self._count(Outcome.ACCEPTED)

    @strawberry.field(description="How many elements are REJECTED or CONFLICT: sending them again does not help.")
    def rejected(self) -> int:
        """How many elements will never be accepted."""
        return self._count(Outcome.REJECTED, Outcome.CONFLICT)

    @strawberry.field(description="How many elements are DUPLICATE: they were stored before, and nothing changed.")
    def duplicate(self) -> int:
        """How many elements were known."""
        return self._count(Outcome.DUPLICATE)

    @strawberry.field(description="How many elements are CONFLICT. They count as `rejected` too.")
    def conflict(self) -> int:
        """How many elements have the identity of something else."""
        return self._count(Outcome.CONFLICT)

    @strawberry.field(description="How many elements are RETRY: send these again, unchanged.")
    def retry(self) -> int:
        """How many elements could not be stored now."""
        return self._count(Outcome.RETRY)

    @strawberry.field(description="The outcome of each element, in the order of the batch.")
    def results(
        self,
        only: Annotated[
            list[Outcome] | None,
            strawberry.argument(description="Return only elements with one of these outcomes; null returns all."),
        ] = None,
    ) -> list[ElementResult]:
        """The outcome of each element."""
        return [ElementResult.of(result) for result in self.all_results if only is None or result.outcome in only]

    def _count(self, *outcomes: Outcome) -> int:
        return sum(result.outcome in outcomes for result in self.all_results)
