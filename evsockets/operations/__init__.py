"""The operations of sockets."""
