"""Worker pool: processes that do jobs for a parent process.

The pool is independent of what the workers compute.
"""
