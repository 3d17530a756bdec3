"""From images to the batches of a training: augmentation, order, streaming."""
