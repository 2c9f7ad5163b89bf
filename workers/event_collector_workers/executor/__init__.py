"""The pool as a `concurrent.futures.Executor`."""
