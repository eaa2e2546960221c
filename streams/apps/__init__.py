"""The workers of the stream side."""
