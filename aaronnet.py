"""AaronNet."""
