"""Making weights, and judging what was made: never an accuracy without novelty."""
