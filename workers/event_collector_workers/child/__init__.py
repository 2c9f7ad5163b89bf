"""The worker process itself: what executes there."""
