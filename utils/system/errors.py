"""The errors that are shown as one line, never as a traceback; `code` is the exit code."""


class UserError(ValueError):
    """The user's to mend: says what was received, what is allowed, and what to do."""

    code = 2


class RunError(RuntimeError):
    """A run that cannot go on, such as on a full disk: says why, and what stands."""

    code = 1


class Interrupted(Exception):
    """A run that was asked to stop, and has written where it stands.

    Args:
        message: string, how to go on.
        signum: int, the signal.
    """

    def __init__(self, message, signum):
        super().__init__(message)
        self.signum = signum
        self.code = 128 + signum
