"""A therapist's own pages: rendered here, written by plain forms, through the same operations as the API."""
