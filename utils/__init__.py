"""The bench: data, training, evaluation and what is written about them."""
