"""Networks that learn the velocity of a flow.

Solvers and schedules live one room up.
"""
