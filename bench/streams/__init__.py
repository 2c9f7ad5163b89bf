"""Streams against the ways to map a function over many values: rates, the program's CPU time, memory."""
