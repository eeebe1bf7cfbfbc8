"""The read side as JSON, for scripts: the same queries as the pages, described in `openapi.json`."""
