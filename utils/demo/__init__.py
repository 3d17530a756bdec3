"""The demo: a page in the browser that explains the predictions of trained networks."""
