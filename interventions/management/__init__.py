"""Commands of the interventions app."""
