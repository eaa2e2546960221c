"""The live system in fast-forward: its own operators, detectors, trainer and gate, without a broker."""
