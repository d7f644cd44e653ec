"""The operations of sockets, one class a file."""
