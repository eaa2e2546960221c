"""Engine-free operators of the cleaning stage: batches of one partition in, outputs and state out."""
