"""The start of workers whose handlers use NumPy, against workers whose handlers do not."""
