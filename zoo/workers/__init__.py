"""A pool of worker processes that answer requests.

It knows nothing of what they compute.
"""
