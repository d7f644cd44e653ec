"""The opening of a socket, up to CONNECTED: begin, resolve, connect or listen; and the connection pool."""
