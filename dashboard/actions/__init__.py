"""What operators do: who may, what it would touch, doing it, and the record of it.

Page, API, command line and socket all act through `perform`: check → record → do → record the result. Topic and group
are the bus'; nothing here renders.
"""
