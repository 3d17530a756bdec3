"""What the tests of the fast forms share."""


def layers_of(used):
    """The classes of layers that the recorded forms are registered for."""
    return {form.layer for _, form in used}
