"""The scaled pool of worker processes."""
