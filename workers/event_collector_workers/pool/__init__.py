"""The pool: who gets which job, how many workers there are, and what becomes of the dead."""
