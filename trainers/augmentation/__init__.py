"""More rows of rare classes, made of training rows; what a model is tested on stays as it came."""
