"""How the embedded model was made: a world of captioned objects, the tool that trains on it, and an independent judge."""
