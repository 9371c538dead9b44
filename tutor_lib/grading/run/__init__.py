"""Run submissions: bundles, their results' store, the two kernels, workers and pools."""
