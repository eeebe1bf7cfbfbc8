"""Live pictures: one tail of the bus per web process, shared by all of its sockets."""
