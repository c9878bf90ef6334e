"""`dev` runs a copy of Keepwell."""
