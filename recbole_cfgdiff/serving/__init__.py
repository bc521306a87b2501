"""A trained model as a service over HTTP. Nothing here needs RecBole."""
