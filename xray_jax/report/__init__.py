"""What people see: tables, sentences, figures; read from rows and results only."""
