"""What the processor and the GPU of this machine are worth: the same answers, how fast, also in training."""
