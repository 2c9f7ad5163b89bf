"""Which mode suits a handler: measured, judged and shown. Programs import the library, not this."""
