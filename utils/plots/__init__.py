"""Figures and pages: colors, data URIs, templates."""
