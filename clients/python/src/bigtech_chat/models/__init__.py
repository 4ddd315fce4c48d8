"""Types of the API, one module for each service, generated from its OpenAPI document."""
