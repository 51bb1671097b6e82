"""Registries of named things, and the settings that a command line gives them.

The things themselves live elsewhere and are found by entry points or lists. Their settings
are read and checked by `settings`, by the annotations of what they are for (`parameters`,
`readings`, `wording`); `ranges` is for what annotations cannot say.
"""
