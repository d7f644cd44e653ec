"""Conversations: a coroutine that awaits a socket's operations, one after the other."""
