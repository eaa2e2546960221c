"""The stream side's speed beside its peers: consumes one seeded event stream, produces rates."""
