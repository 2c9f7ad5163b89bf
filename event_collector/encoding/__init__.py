"""The encoding of values that msgspec does not know: as data with a tag, and large buffers beside it."""
