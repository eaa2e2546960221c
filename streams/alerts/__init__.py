"""Alerts on their way to people: consumes `alerts.drift`, produces log lines and webhook posts."""
