"""The comparison of modes: measures a handler in each, recommends one, and reports why. Programs do not import this."""
