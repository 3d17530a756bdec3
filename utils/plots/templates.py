"""Pages from Jinja templates."""

from pathlib import Path
from typing import Any

import jinja2


def render_template(template: Path, **values: Any) -> str:
    """Renders a template; values are escaped, so that no text in them acts as HTML.

    Args:
        template: path of the template.
        **values: all values that the template names; a missing one is an error.

    Returns:
        The page as a string.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)
