"""Training with Lightning: the module, the data, the schedule, what is watched, and the builder that joins them."""
