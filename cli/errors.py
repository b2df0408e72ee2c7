"""How a command fails, and the exit code of each failure."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import InvalidInput, PenchantError, StoreUnavailable

REFUSED, WRONG_COMMAND, UNREACHABLE = 1, 2, 3  # exit codes


class Refused(PenchantError):
    """The command was understood and refused."""


class WrongCommand(PenchantError):
    """The command cannot be carried out as it is written."""


class NoDatabase(PenchantError):
    """No stack runs here: start `make demo` or `penchant up`, or set PENCHANT_POSTGRES_URL."""


class CannotWrite(PenchantError):
    """A file cannot be written."""


class GatewayUnreachable(PenchantError):
    """The gateway did not answer."""


def exit_code(error: PenchantError) -> int:
    """The exit code of a command that ends with this error."""
    if isinstance(error, InvalidInput | WrongCommand):
        return WRONG_COMMAND
    unreachable = StoreUnavailable | GatewayUnreachable | NoDatabase | CannotWrite
    return UNREACHABLE if isinstance(error, unreachable) else REFUSED


@contextmanager
def refusals() -> Iterator[None]:
    """Inside the block, invalid input is a refusal: the command was right, what it names does not allow it."""
    try:
        yield
    except InvalidInput as error:
        raise Refused(str(error)) from error
