"""The desk: what people and other systems see of the product, over HTTP.

It records what people order (`broadcaster.orders`) and shows what the ledger holds. It makes no
release and sends no post, and needs no Kafka.
"""
