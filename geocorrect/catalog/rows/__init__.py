"""Records to columns and back."""
