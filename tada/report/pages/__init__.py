"""What people read: Markdown, LaTeX, HTML and CSV."""
