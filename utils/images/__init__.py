"""Images in files: read, kept on disk and decoded ahead of a training, or shown."""
