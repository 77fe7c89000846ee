from tests.brokers import broker, own_broker

__all__ = ["broker", "own_broker"]
