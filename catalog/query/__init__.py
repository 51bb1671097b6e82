"""Queries of users: parsed to a tree, checked, and run on a locked connection."""
