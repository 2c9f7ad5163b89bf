"""Events in an asyncio program, handled by coroutines and worker processes."""
