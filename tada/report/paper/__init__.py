"""What the paper reports: tables, figures, claims and audit, with the quantities they name. Plain values."""
