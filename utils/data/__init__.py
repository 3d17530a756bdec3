"""Data sets: found, downloaded, decoded and read without trust."""
