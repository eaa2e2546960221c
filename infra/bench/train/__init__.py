"""What training is worth: consumes candidates whose worth is known, produces what became of them."""
