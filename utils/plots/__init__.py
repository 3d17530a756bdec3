"""Pictures and pages: figures, colors, data URIs, templates."""
