"""Queries of users: read as a tree, checked, and run where nothing else can be reached."""
