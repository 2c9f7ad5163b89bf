"""Collectors in other processes: their setup, the encoding of what crosses the boundary, and the worker's side."""
