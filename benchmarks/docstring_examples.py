"""Shows the examples of docstrings as code on the pages of the API (`mkdocs.yml` names this file).

Griffe knows the section `Examples:`, indented. As Markdown, `>>>` would be a quotation.
"""

import re
import textwrap

import griffe


class ExamplesAsCode(griffe.Extension):
    """Makes a section of what follows `Example:`."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:\n\n((?:.+\n?)+)",
                lambda found: "Examples:\n" + textwrap.indent(found[1], "    "),
                obj.docstring.value,
                flags=re.MULTILINE,
            )
