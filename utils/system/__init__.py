"""What all other packages build on: errors, files, signals, processes, backends, timing."""
