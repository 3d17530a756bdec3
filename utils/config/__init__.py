"""Settings of every command, and how flags and files become them."""
