"""What a handler is, whom a payload reaches, and when a failed attempt is tried again."""
