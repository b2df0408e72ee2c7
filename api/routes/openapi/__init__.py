"""The OpenAPI document of the HTTP routes, made from the contracts that the routes check."""
