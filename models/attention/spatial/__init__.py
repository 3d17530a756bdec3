"""Gates for positions, the same for all channels or not, from convolutions and strips."""
