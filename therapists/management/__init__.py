"""Commands of the therapists app."""
