"""Serving: from `events.clean` and `models.releases` to `predictions`, and the gateway for questions by HTTP."""
