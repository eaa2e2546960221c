"""Serving: from `events.clean` and `models.releases` to `predictions`, and the HTTP gateway."""
