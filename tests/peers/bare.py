"""The row is saved, and nothing follows: what everybody is compared with."""
