"""Gates for channels and for positions in one module."""
