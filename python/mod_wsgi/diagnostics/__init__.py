"""Applications that show what a server does."""
