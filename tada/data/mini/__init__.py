"""Mini datasets: real video files in the real layouts, rendered from a seed."""
