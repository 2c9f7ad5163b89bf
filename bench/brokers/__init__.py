"""What an event costs that comes from a broker, against one of the same program."""
