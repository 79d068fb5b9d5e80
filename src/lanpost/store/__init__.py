"""What is kept on this machine's disk. No event loop in here: calls are synchronous or answer with a Future."""
