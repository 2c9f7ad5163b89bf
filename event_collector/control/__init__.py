"""Actions on a queue while it runs, and the socket that takes them from outside."""
