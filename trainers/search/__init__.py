"""Search of hyper-parameters: consumes an order to train and a space, produces the best recipe found."""
