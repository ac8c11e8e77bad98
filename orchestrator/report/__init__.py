"""The outputs for people and scripts: terminal, page, tables and exports."""
