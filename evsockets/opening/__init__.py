"""The way to CONNECTED: begin, resolve, connect or listen; and the pool of connections left open."""
