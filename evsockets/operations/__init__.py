"""What a socket can do, one class a file."""
