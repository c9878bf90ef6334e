"""How passwords are kept."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """
    Argon2id with what OWASP asks for at least: 19 MiB, two rounds, one lane.

    The framework's 100 MiB would let eight people who sign in at once take 800 MiB of the web process.
    """

    time_cost, memory_cost, parallelism = 2, 19_456, 1
