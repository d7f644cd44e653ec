"""Serving by conversations, in this process or in several."""
