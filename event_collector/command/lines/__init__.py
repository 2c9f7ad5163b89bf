"""The lines of `event-collector run`: read, sent as events, answered in order, and written."""
