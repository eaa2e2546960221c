"""How fast real log lines are answered on a stream, and whether the cache changes an answer."""
