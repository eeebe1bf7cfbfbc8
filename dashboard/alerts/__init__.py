"""Alerts: rules, what they found, and who is told. What was found is kept as rows, never rebuilt from the bus.

`rules` says what is wrong, `evaluate` looks (`manage.py alerts`), `desk` is what operators do, `sending` tells others.
"""
