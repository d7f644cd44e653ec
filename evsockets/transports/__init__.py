"""Non-blocking transports, each over one socket, and the making of those sockets."""
