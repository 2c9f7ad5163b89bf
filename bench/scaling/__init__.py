"""What an event costs in the workers of the queue, of loky, and of a Dask cluster, on one machine, in one run."""
