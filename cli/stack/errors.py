"""What can go wrong while a private stack starts, each with what to do about it."""

from core.errors import PenchantError


class StackError(PenchantError):
    """The private stack could not be started."""


class Missing(StackError):
    """A server's program is not on this machine."""


class Busy(StackError):
    """Another process runs a stack in this folder."""
