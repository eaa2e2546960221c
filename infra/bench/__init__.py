"""Measurements behind `headrace bench`: each drives the real stack and returns figures as one JSON object."""
