"""Where and how runs run: executors, processes, progress, run folders."""
