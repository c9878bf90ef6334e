"""Data for development and demonstration: people who can sign in, a population, and troubles to look at."""
