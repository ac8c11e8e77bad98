"""The outputs for people and for scripts: terminal, page, tables and exports."""
