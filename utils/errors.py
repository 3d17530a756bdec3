"""The error that is the user's to mend: shown as one line, never as a traceback."""


class UserError(ValueError):
    """Says what was received, what is allowed, and what to do."""
