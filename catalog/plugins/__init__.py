"""Registries of named things, and the settings that a command line gives them.

The things themselves live elsewhere and are found by entry points or lists.
"""
