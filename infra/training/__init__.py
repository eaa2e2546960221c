"""Behind `headrace train`: files in, examples of a task out, and the terminal's view of a training."""
