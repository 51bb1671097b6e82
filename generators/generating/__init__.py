"""The verb `generate`: plan, fit or load, sample, judge, store, report.

Methods, nulls and the judge live in rooms of their own.
"""
