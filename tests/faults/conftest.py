from tests.brokers import broker, embedded_broker, own_broker
from tests.connected.production import servers

__all__ = ["broker", "embedded_broker", "own_broker", "servers"]
