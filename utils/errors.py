"""The errors that are shown as one line, never as a traceback."""


class UserError(ValueError):
    """The user's to mend: says what was received, what is allowed, and what to do."""


class RunError(RuntimeError):
    """A run that cannot go on, such as on a full disk: says why, and what stands."""


class Interrupted(Exception):
    """A run that was asked to stop, and has written where it stands.

    Args:
        message: string, how to go on.
        signum: int, the signal.
    """

    def __init__(self, message, signum):
        super().__init__(message)
        self.signum = signum
