"""How people sign in: sessions, passwords, lockout, and the second factor."""
