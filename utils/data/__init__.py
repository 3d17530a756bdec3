"""Data sets: loading, downloading and decoding of untrusted files."""
