"""Backtest: consumes a recorded, labelled history, produces what drift handling would have done with it."""
