"""Rankings and metrics: collected from a model, kept, and made of what is kept."""
