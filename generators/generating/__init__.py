"""Steps of the command `generate`: plan, fit or load, sample, judge, store and report."""
