"""Why a model answers as it does: consumes a model and an event, produces what each part of it adds."""
