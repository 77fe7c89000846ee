"""The flow on Kafka: one file per step, in order; topics.py is the map."""
