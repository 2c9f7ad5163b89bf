"""The values that travel: payloads, contexts, results, errors, and the clock. This room imports no other."""
