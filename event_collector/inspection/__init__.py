"""The inspection of a queue: what happens to single events, recorded only while a viewer asks for details."""
