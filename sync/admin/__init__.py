"""The front page of the staff's desk."""
