"""Gates for channels, from statistics of each channel or of its neighborhood."""
