"""Errors of the local stack: what could not be started or reached, and what mends it."""

from schemas.errors import Fatal


class StackError(Fatal):
    """The local stack cannot do what was asked; the message says why and what to do."""


class AlreadyRunningError(StackError):
    """Another supervisor holds this home folder."""


class NotRunningError(StackError):
    """No stack runs in this home folder."""
