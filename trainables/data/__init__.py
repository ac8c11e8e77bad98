"""Arrow tables -> tensors, and which rows each worker reads."""
