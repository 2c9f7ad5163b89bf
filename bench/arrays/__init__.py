"""Arrays to worker processes and back, against other ways to send them."""
