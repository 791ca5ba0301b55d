"""The probe's figures against signals whose answer is known by construction."""
