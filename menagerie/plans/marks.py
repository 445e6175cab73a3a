"""Looks of parts with a sharp edge: painted marks and eyes."""

PAINTED = {"pattern": 0.0, "belly": 0.0, "soft": 0.0}
EYEBALL = PAINTED | {"part": "eye", "gloss": 0.7}
