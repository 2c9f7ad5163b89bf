"""Where handlers run: one room or module for each kind of place."""
