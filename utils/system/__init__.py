"""What every part of the bench stands on: errors, files, signals, processes, backends, timing."""
