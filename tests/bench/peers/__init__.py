"""The programs under test: one module a peer, each a process of its own."""
