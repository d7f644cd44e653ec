"""What several test files share; imported as `support` (see `pythonpath` in pyproject.toml)."""
