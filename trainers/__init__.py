"""The trainer: consumes drift alerts and labelled events, produces releases that serving follows."""
