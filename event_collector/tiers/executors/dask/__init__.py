"""Handlers in the workers of a Dask cluster."""
