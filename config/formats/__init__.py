"""How this site writes what a language has its own way for."""
