"""Figures of a queue, and the ways to read them."""
