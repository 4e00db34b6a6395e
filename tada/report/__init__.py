"""From metrics.json to what people read: tables and figures with reproduced numbers beside the reported ones."""
