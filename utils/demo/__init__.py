"""Trained networks at work, on a page in the browser."""
