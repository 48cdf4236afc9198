"""Commands beside the four steps. Only scripts and benchmarks use this room, each module by its name."""
