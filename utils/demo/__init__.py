"""Trained networks side by side on a page in the browser."""
