"""Several processes that train one model: the process group, who takes which frames, launching."""
