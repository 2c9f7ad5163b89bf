"""Memory that the program shares with its workers, so that large values need no way through a socket."""
