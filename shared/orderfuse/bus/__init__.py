"""The bus: its messages, their bytes, and the links that carry them. Only `codec` knows msgpack, only `links` zmq."""
