"""What every room uses: errors, files, YAML, processes and devices, progress, provenance."""
