"""Explanations of trained networks: Grad-CAM, attention maps, and how faithful they are."""
