"""The worker process: the code that runs there."""
