from tests.brokers import broker, collected, embedded_broker, own_broker
from tests.connected.production import servers

__all__ = ["broker", "collected", "embedded_broker", "own_broker", "servers"]
