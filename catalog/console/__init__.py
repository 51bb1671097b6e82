"""Command lines: the program, its shared options, and everything that is printed.

No verb lives here: each package contributes its own. Nothing here reads a shard.
"""
