"""A collector in another process: encoding, exceptions, the worker's side."""
