"""Explanations of answers for people: consumes what `trainers.explain` found, produces what they see."""
