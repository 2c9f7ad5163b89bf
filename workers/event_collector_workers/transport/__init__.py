"""Communication between a pool and its workers: messages, a socket, a shared page, a lifeline."""
