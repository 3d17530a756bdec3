"""Weights of several convolutions of the same map."""
