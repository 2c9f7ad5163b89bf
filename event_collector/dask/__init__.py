"""Dask workers as a place for collectors: more CPUs, on more machines, for the same queue."""
