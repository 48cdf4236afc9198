"""What the command line does besides the four steps. Only scripts use this room, each module by its name."""
