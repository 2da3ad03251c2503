"""Errors, grouped by who must act: the operator, the machine, or the programmer."""

from __future__ import annotations


class HubError(Exception):
    """Something an operator is told in one sentence; never a traceback."""

    exit_code = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UsageError(HubError):
    """The command line is wrong: exit code 2, nothing changed."""

    exit_code = 2


class RefusedError(HubError):
    """What was asked for is refused, and the operator can do something about it.

    `code` is the wire's error code, `status` its HTTP status, `exit_code` the command line's.
    """

    def __init__(self, code: str, sentence: str, status: int = 409, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status
        self.exit_code = exit_code


class HostError(HubError):
    """The machine did not do its part: a full disk, a missing tool, a refused signal."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class IllegalTransitionError(Exception):
    """A programmer's mistake: a move that the tables of `domain` do not have."""
