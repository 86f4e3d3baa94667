"""One self-contained page and plots that a person looks at."""
