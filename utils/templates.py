"""Pages from the templates beside this file."""

from pathlib import Path

import jinja2


def filled(template, **values):
    """Returns a page, a string; values are text, in which nothing is HTML.

    Args:
        template: string, the name of a file beside this one.
        **values: what the template names; one that it names and is not here is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
