"""What happens to patients, for other apps to hear."""

from django.dispatch import Signal

patient_registered = Signal()
"""A patient registered here.

Sent inside the transaction that stores the patient, so a receiver's writes stand or fall with it. Not sent for patients
that an import brings, nor by any change of a patient later. The sender is `patients.services.patient_register`.

Arguments:
    patient: `{patientId, name, email, phone, referralCode}`, all text: what the platform's event carries, nothing else.
"""
