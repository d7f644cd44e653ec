"""The heart: one socket's life (channel), what it does (operation, activities), and the turn (loop)."""
