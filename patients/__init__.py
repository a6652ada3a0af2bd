"""Patients: their records, how they sign in, and who may see what."""
