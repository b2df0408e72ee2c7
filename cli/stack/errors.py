"""The errors of starting a private stack."""

from core.errors import PenchantError


class StackError(PenchantError):
    """The private stack could not be started."""


class Missing(StackError):
    """A server's program is not on this machine."""


class Busy(StackError):
    """Another process runs a stack in this folder."""
