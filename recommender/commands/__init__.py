"""Commands beside the four steps. Only scripts use this room, and they import each module by its name."""
