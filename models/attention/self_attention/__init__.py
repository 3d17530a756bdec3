"""Weights between positions, or between channels, from their similarity."""
