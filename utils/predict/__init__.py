"""Predictions of trained networks for image files of any kind and number."""
