"""A release's way into service: what it must not do there, and what takes it back or further."""
