"""Movers of bytes: non-blocking transports over one socket each, and how those sockets are made."""
