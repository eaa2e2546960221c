"""The HTTP gateway: takes events and labels in over HTTP, produces them to Kafka, and answers for predictions."""
