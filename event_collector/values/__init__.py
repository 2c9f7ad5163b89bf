"""What is sent and what comes back: payloads, results, contexts, errors. This room knows no other."""
