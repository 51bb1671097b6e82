"""One HTML page with everything that people would rather look at than read.

Nothing is imported here: `catalog.show` needs parts of it, and it needs `catalog.show`.
"""
