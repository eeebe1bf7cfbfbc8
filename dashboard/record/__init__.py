"""Writing the read model: how the journal becomes rows. Only the recorder writes; pages and sockets read."""
