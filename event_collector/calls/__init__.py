"""The short ways to an answer, without payloads and events in between."""
