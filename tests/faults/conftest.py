from tests.brokers import broker, embedded_broker, own_broker

__all__ = ["broker", "embedded_broker", "own_broker"]
