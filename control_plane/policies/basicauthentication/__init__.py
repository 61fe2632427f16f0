"""BasicAuthentication: only requests with the name and password of a user get through."""
