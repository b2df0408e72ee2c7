"""Why a mutation was refused: returned in its payload, not in the GraphQL `errors`."""

from typing import Self

import strawberry

from core.errors import InvalidInput


@strawberry.type(description="A reason why a mutation changed nothing.")
class UserError:
    """One reason."""

    code: str = strawberry.field(description="The reason as a code for programs, such as BAD_USER_INPUT.")
    field: list[str] | None = strawberry.field(
        description="The path of the wrong argument; null when no single argument is wrong."
    )
    message: str = strawberry.field(description="The reason as a sentence for people.")

    @classmethod
    def of(cls, error: InvalidInput, code: str = "BAD_USER_INPUT") -> Self:
        """The UserError of an InvalidInput."""
        return cls(code=code, field=error.field.split(".") if error.field else None, message=str(error))
