"""A cluster and its machines: submitted jobs, the token, and the checks of `paretune doctor`."""
