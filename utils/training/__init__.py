"""One training run: the network, its optimizer and schedule, the devices, the loop."""
