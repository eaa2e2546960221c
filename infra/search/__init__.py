"""`headrace tune`: from its files to its page."""
