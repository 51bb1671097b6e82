"""Registries of named plugins, and the settings that a command line gives them.

The plugins themselves live in other packages and are found by entry points or exports.
`settings` reads and checks their settings by the annotations of their parameters
(`parameters`, `readings`, `wording`); `ranges` checks what annotations cannot express.
"""
