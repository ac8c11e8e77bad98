"""What people and scripts are shown: terminal, page, tables and exports."""
