"""Start of worker processes: one launcher per start method, behind one interface."""
