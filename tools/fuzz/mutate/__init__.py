"""Mutations of files: of their bytes, and of what their format makes of them."""
