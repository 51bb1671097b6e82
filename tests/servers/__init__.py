"""Servers of this machine that stand in for the Hub, S3 and plain HTTP."""
