"""A conversation with each of many targets, in this process or in others."""
