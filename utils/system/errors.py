"""Errors that are shown as one line, without a traceback; `code` is the exit code."""


class UserError(ValueError):
    """An error the user can fix: says what was received, what is allowed and what to do."""

    code = 2


class RunError(RuntimeError):
    """A run cannot go on, as when the disk is full: says why, and what has been saved."""

    code = 1


class Interrupted(Exception):
    """A signal stopped a run, after it saved its state.

    Args:
        message: string, how to resume.
        signum: int, the signal's number.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
        self.code = 128 + signum
