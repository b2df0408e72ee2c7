"""What single mutations answer when they cannot do what was asked: a value, not an error of the request."""

from typing import Self

import strawberry

from core.errors import InvalidInput


@strawberry.type(description="Why a mutation did nothing.")
class UserError:
    """One reason."""

    code: str = strawberry.field(description="Why not, for programs.")
    field: list[str] | None = strawberry.field(description="Path of the argument at fault.")
    message: str = strawberry.field(description="Why not, for people.")

    @classmethod
    def of(cls, error: InvalidInput, code: str = "BAD_USER_INPUT") -> Self:
        """The public shape of a refusal."""
        return cls(code=code, field=[error.field] if error.field else None, message=str(error))
