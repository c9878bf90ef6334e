"""PostgreSQL and Valkey without a server of one's own: the programs of two wheels, run in `var/`."""

from config.embedded.places import EmbeddedServerError, database_url, redis_url, secret_key
from config.embedded.running import Servers, servers

__all__ = ["EmbeddedServerError", "Servers", "database_url", "redis_url", "secret_key", "servers"]
