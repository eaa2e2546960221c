"""The HTTP gateway: events and labels in over HTTP and on to Kafka, predictions out."""
