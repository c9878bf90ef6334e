"""The streams process: one connection to PostgreSQL, and as many open streams of events as it is allowed."""
