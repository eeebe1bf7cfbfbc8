"""Replays: handing dead letters back to the groups that gave them up, as an operation that is planned, runs and ends.

`plan` freezes a list, `confirm` starts it, a runner (`manage.py replays`) hands back letter by letter at its pace, and
looks at what becomes of each. Page, API and command line go through `desk`.
"""
