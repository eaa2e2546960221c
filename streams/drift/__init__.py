"""The drift watch: consumes clean events, predictions and labels of a stream, produces alerts and levels."""
