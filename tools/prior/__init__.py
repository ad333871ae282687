"""The embedded model's own workshop: a world of captioned objects, the tool that trains on it, and an independent judge."""
