"""Images on their way to the network: batches, augmentation, streaming."""
