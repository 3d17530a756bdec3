"""Images in files: decoded without trust, in folders of classes, as an array on disk."""
