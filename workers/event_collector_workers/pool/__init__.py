"""The pool: assignment of jobs, number of workers, replacement of dead ones."""
